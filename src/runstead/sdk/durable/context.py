"""The context that a handler receives with its run."""

import asyncio
import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec

from runstead.sdk.durable.blocking import BlockingContext
from runstead.sdk.durable.emitter import LeaseLostError, NothingToWaitFor, Send
from runstead.sdk.durable.message_stream import Message, MessageStream, ToolCall
from runstead.sdk.durable.step_runner import as_coroutine
from runstead.sdk.errors import RunFailed
from runstead.sdk.models.artifact import StoredArtifact

__all__ = ["Context", "LeaseLostError", "RunFailed", "Send", "ThreadContext"]


class Context(MessageStream):
    """A handler's interface to one attempt of a run.

    Its parts are classes that build on each other: `Emitter` (events, logs, artifacts), `StepRunner` (steps),
    `Waits` (waits, child runs, repeatable values) and `MessageStream` (messages, tool calls, usage).
    """


class ThreadContext(BlockingContext):
    """A `Context` for a handler that runs in a thread. Its methods block."""

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
        """Emit a message: `ctx.text("Hello")`, or in parts `with ctx.text() as message: message.write("Hel")`."""
        return self._write(self._context.text(whole, **options), is_whole=whole is not None)

    def reasoning(self, whole: str | None = None) -> "ThreadMessage | None":
        """Emit reasoning of the model, as `text` emits a message."""
        return self._write(self._context.reasoning(whole), is_whole=whole is not None)

    def tool_call(
        self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET
    ) -> "ThreadMessage | None":
        """Emit a tool call: `ctx.tool_call("search", {"q": "x"}, result=found)`, or in parts with
        `with ctx.tool_call("search", {"q": "x"}) as call: call.result = search("x")`.
        """
        call = self._context.tool_call(name, arguments, result=result)
        return self._write(call, is_whole=result is not msgspec.UNSET)

    def artifact(
        self, source: Any, name: str | None = None, media_type: str | None = None, **options: Any
    ) -> StoredArtifact | None:
        """As `Context.artifact`. The artifact is stored when this returns."""
        storing = self._context.artifact(source, name, media_type, **options)
        if isinstance(storing, NothingToWaitFor):
            return None
        stored: StoredArtifact | None = self._wait(as_coroutine(storing))
        return stored

    def usage(self, provider: str, model: str, **counts: Any) -> None:
        """As `Context.usage`."""
        self._call(lambda: self._context.usage(provider, model, **counts))

    def _write(self, message: Message | ToolCall, *, is_whole: bool) -> "ThreadMessage | None":
        if is_whole:
            self._wait(message.write_whole())
            return None
        return ThreadMessage(message, self)

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._wait(method(*args, **kwargs))

        return call


class ThreadMessage:
    """A message, reasoning or tool call that a handler in a thread emits in parts."""

    def __init__(self, message: Message | ToolCall, blocking: BlockingContext) -> None:
        self._message = message
        self._blocking = blocking
        self.result: Any = msgspec.UNSET
        self.is_error = False

    @property
    def id(self) -> str:
        return self._message.id

    def write(self, delta: str) -> None:
        """Emit the next part."""
        self._blocking._wait(self._message.write(delta))  # noqa: SLF001 - part of ThreadContext

    def __enter__(self) -> Self:
        self._blocking._wait(self._message.__aenter__())  # noqa: SLF001 - part of ThreadContext
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._message, ToolCall) and self.result is not msgspec.UNSET:
            self._message.result, self._message.is_error = self.result, self.is_error
        self._blocking._wait(self._message.__aexit__(kind, error, trace))  # noqa: SLF001 - part of ThreadContext
