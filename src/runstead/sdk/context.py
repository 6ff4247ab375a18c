"""What a handler is given beside its run."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

import msgspec

from runstead.sdk.artifact import StoredArtifact
from runstead.sdk.durable import Child
from runstead.sdk.run import Run
from runstead.sdk.speaking import Message, Speaking, ToolCall
from runstead.sdk.telling import LeaseLostError, Noted, RunFailed, Send

__all__ = ["Context", "LeaseLostError", "RunFailed", "Send", "ThreadContext"]


#: Methods that wait for nothing, and yet belong into the loop's thread.
_QUICK: Final = frozenset({"now", "tell", "usage"})


class Context(Speaking):
    """A handler's side of one attempt: `Telling` tells what happens, `Durable` keeps what is done, `Speaking` streams
    what is said.
    """


class ThreadContext:
    """The same for a handler that runs in a thread: its methods block. See `Context`."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._context, name)
        if name in _QUICK:
            return self._blocking(_awaitable(member))
        return self._blocking(member) if asyncio.iscoroutinefunction(member) else member

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"metadata", "exit_code"}:
            setattr(self._context, name, value)
        else:
            super().__setattr__(name, value)

    def text(self, whole: str | None = None, **options: Any) -> "ThreadMessage | None":
        """`ctx.text("Hello")`, or `with ctx.text() as message: message.write("Hel")`."""
        return self._spoken(self._context.text(whole, **options), at_once=whole is not None)

    def reasoning(self, whole: str | None = None) -> "ThreadMessage | None":
        """As `text`."""
        return self._spoken(self._context.reasoning(whole), at_once=whole is not None)

    def tool_call(
        self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET
    ) -> "ThreadMessage | None":
        """`ctx.tool_call("search", {"q": "x"}, result=found)`, or `with ctx.tool_call("search", {"q": "x"}) as call:
        call.result = search("x")`.
        """
        call = self._context.tool_call(name, arguments, result=result)
        return self._spoken(call, at_once=result is not msgspec.UNSET)

    def artifact(self, what: Any, **options: Any) -> StoredArtifact | None:
        """As `Context.artifact`; what is stored is there once it returns."""
        told = self._context.artifact(what, **options)
        if isinstance(told, Noted):
            return None
        stored: StoredArtifact = self._blocking(_awaiting)(told)
        return stored

    def _spoken(self, spoken: Message | ToolCall, *, at_once: bool) -> "ThreadMessage | None":
        if at_once:
            self._blocking(spoken.tell)()
            return None
        return ThreadMessage(spoken, self._blocking)

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()
            return ThreadChild(answer, self._blocking) if isinstance(answer, Child) else answer

        return call


async def _awaiting(one: Awaitable[Any]) -> Any:
    return await one


def _awaitable(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return call


class ThreadMessage:
    """A message, a thought or a tool call that is being told by a handler in a thread."""

    def __init__(
        self, spoken: Message | ToolCall, blocking: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._spoken = spoken
        self._blocking = blocking
        self.result: Any = msgspec.UNSET
        self.is_error = False

    @property
    def id(self) -> str:
        return self._spoken.id

    def write(self, delta: str) -> None:
        """Tell the next part of it."""
        self._blocking(self._spoken.write)(delta)

    def __enter__(self) -> Self:
        self._blocking(self._spoken.__aenter__)()
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._spoken, ToolCall) and self.result is not msgspec.UNSET:
            self._spoken.result, self._spoken.is_error = self.result, self.is_error
        self._blocking(self._spoken.__aexit__)(*error)


class ThreadChild:
    """A spawned run, for a handler in a thread."""

    def __init__(self, child: Child, blocking: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.run_id = child.run_id
        self._result = blocking(child.result)

    def result(self, *, check: bool = True) -> Run:
        """As `Child.result`; it blocks."""
        run: Run = self._result(check=check)
        return run
