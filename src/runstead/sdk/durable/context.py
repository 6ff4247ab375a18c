"""What a handler is given beside its run."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import msgspec

from runstead.sdk.durable.blocking import BlockingContext
from runstead.sdk.durable.emitter import LeaseLostError, NothingToWaitFor, RunFailed, Send
from runstead.sdk.durable.message_stream import Message, MessageStream, ToolCall
from runstead.sdk.models.artifact import StoredArtifact

__all__ = ["Context", "LeaseLostError", "RunFailed", "Send", "ThreadContext"]


class Context(MessageStream):
    """A handler's side of one attempt: `Emitter` tells what happens, `Waits` keeps what is done, `MessageStream` streams
    what is said.
    """


class ThreadContext(BlockingContext):
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

    def artifact(
        self, what: Any, name: str | None = None, media_type: str | None = None, **options: Any
    ) -> StoredArtifact | None:
        """As `Context.artifact`; what is stored is there once it returns."""
        told = self._context.artifact(what, name, media_type, **options)
        if isinstance(told, NothingToWaitFor):
            return None
        stored: StoredArtifact = self._wait(_awaiting(told))
        return stored

    def usage(self, provider: str, model: str, **told: Any) -> None:
        """As `Context.usage`."""
        self._ask(lambda: self._context.usage(provider, model, **told))

    def _spoken(self, spoken: Message | ToolCall, *, at_once: bool) -> "ThreadMessage | None":
        if at_once:
            self._wait(spoken.emit_nowait())
            return None
        return ThreadMessage(spoken, self)

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._wait(method(*args, **kwargs))

        return call


async def _awaiting(one: Awaitable[Any]) -> Any:
    return await one


class ThreadMessage:
    """A message, a thought or a tool call that is being told by a handler in a thread."""

    def __init__(self, spoken: Message | ToolCall, blocking: BlockingContext) -> None:
        self._spoken = spoken
        self._blocking = blocking
        self.result: Any = msgspec.UNSET
        self.is_error = False

    @property
    def id(self) -> str:
        return self._spoken.id

    def write(self, delta: str) -> None:
        """Tell the next part of it."""
        self._blocking._wait(self._spoken.write(delta))  # noqa: SLF001 - its other half

    def __enter__(self) -> Self:
        self._blocking._wait(self._spoken.__aenter__())  # noqa: SLF001 - its other half
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._spoken, ToolCall) and self.result is not msgspec.UNSET:
            self._spoken.result, self._spoken.is_error = self.result, self.is_error
        self._blocking._wait(self._spoken.__aexit__(kind, error, trace))  # noqa: SLF001 - its other half
