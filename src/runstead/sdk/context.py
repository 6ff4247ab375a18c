"""What a handler is given beside its run."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from runstead.sdk.blocking import Blocking
from runstead.sdk.durable import Durable
from runstead.sdk.telling import LeaseLostError, RunFailed, Send

__all__ = ["Context", "LeaseLostError", "RunFailed", "Send", "ThreadContext"]


class Context(Durable):
    """A handler's side of one attempt: `Telling` tells what happens, `Durable` keeps what is done."""


class ThreadContext(Blocking):
    """The same for a handler that runs in a thread: its methods block. See `Context`."""

    _context: Context

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._context, name)
        return self._blocking(member) if asyncio.iscoroutinefunction(member) else member

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"metadata", "exit_code"}:
            setattr(self._context, name, value)
        else:
            super().__setattr__(name, value)

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._wait(method(*args, **kwargs))

        return call
