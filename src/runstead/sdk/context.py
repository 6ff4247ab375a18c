"""What a handler is given beside its run."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from runstead.sdk.durable import Child, Durable
from runstead.sdk.run import Run
from runstead.sdk.telling import LeaseLostError, RunFailed, Send

__all__ = ["Context", "LeaseLostError", "RunFailed", "Send", "ThreadContext"]


class Context(Durable):
    """A handler's side of one attempt: `Telling` tells what happens, `Durable` keeps what is done."""


class ThreadContext:
    """The same for a handler that runs in a thread: its methods block. See `Context`."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop

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
            answer = asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()
            return ThreadChild(answer, self._blocking) if isinstance(answer, Child) else answer

        return call


class ThreadChild:
    """A spawned run, for a handler in a thread."""

    def __init__(self, child: Child, blocking: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.run_id = child.run_id
        self._result = blocking(child.result)

    def result(self, *, check: bool = True) -> Run:
        """As `Child.result`; it blocks."""
        run: Run = self._result(check=check)
        return run
