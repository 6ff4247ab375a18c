"""Text, reasoning and tool calls as AG-UI events, and the token usage of models.

When a handler runs again, it repeats what it emitted outside of steps. Nothing is stored twice: a message that has
ended in the log is dropped, and an interrupted one continues where it stopped. If the new text differs from the stored
text, the stored message is ended and a new one is emitted from the beginning.
"""

import hashlib
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from runstead.sdk.durable.branch import running_step
from runstead.sdk.durable.history import RESULT, USAGE, History
from runstead.sdk.durable.reports import Reports
from runstead.sdk.models.usage import summed
from runstead.sdk.routes.call import members

Role = Literal["assistant", "user", "system", "developer"]

#: A longer delta is cut: an event's JSON must stay under 256 KiB, however it is escaped.
_DELTA_CHARS: Final = 32 * 1024


class MessageKind(msgspec.Struct, frozen=True):
    """The event types of a message, in order. `content` comes after the last of `starts`, before the first of `ends`.

    `mark` is part of the id of such a message, `member` holds the id in its events.
    """

    mark: str
    starts: tuple[str, ...]
    content: str
    ends: tuple[str, ...]
    member: str = "messageId"


TEXT: Final = MessageKind("m", ("TEXT_MESSAGE_START",), "TEXT_MESSAGE_CONTENT", ("TEXT_MESSAGE_END",))
REASONING: Final = MessageKind(
    "r",
    ("REASONING_START", "REASONING_MESSAGE_START"),
    "REASONING_MESSAGE_CONTENT",
    ("REASONING_MESSAGE_END", "REASONING_END"),
)
TOOL: Final = MessageKind(
    mark="c",
    starts=("TOOL_CALL_START",),
    content="TOOL_CALL_ARGS",
    ends=("TOOL_CALL_END",),
    member="toolCallId",
)
_BY_START: Final = {kind.starts[-1]: kind for kind in (TEXT, REASONING, TOOL)}


class MessageStream(Reports):
    """The part of a context that emits messages, reasoning and tool calls, and records token usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[str, MessageKind] = {}  # messages that this attempt started and did not end
        self._usages: dict[str, dict[str, Any]] = {}
        self._count = 0  # of messages, where no app serves the handler

    def begin(self, history: History, tries: int | None = None) -> None:
        super().begin(history, tries)
        self._open.clear()
        self._usages = dict(history.usages)
        self.restore_logs(history.logs)

    def _next_id(self, mark: str) -> str:
        """Return the id of the next message. It is the same when the handler runs again."""
        step, branch = running_step(), self.branch
        if step is not None:
            return step.next_emit_id(mark)
        if branch is not None:
            return branch.next_emit_id(mark)
        self._count += 1
        return f"{self.run.attempt}//{mark}{self._count}"

    async def emit(self, event: Mapping[str, Any]) -> None:
        """Append one event; see `Context.emit`."""
        if self.branch is not None and running_step() is None and "idempotency_key" not in event:
            # Hashed, because the id of a deeply nested branch is longer than a key may be.
            identity = [self._next_id("e"), event]
            digest = hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()
            event = {**event, "idempotency_key": f"told:{digest}"}
        await super().emit(event)

    def text(self, whole: str | None = None, *, role: Role = "assistant") -> "Message":
        """Emit a message; see `Context.text`."""
        return Message(MessageWriter(self, TEXT, self._next_id("m"), {"role": role}), whole)

    def reasoning(self, whole: str | None = None) -> "Message":
        """Emit reasoning of the model, as `text` emits a message."""
        return Message(MessageWriter(self, REASONING, self._next_id("r"), {"role": "reasoning"}), whole)

    def tool_call(self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET) -> "ToolCall":
        """Emit a tool call and its result; see `Context.tool_call`."""
        writer = MessageWriter(self, TOOL, self._next_id("c"), {"toolCallName": name})
        return ToolCall(writer, arguments, result)

    def usage(self, provider: str, model: str, counts: Mapping[str, int], more: Mapping[str, Any]) -> None:
        """Record the tokens of one call of a model; see `Context.usage`. `more` are members that may be None."""
        for name, count in counts.items():
            if count < 0:
                raise ValueError(f"{name} must not be below 0, and is {count}")
        usage_id = self._next_id("u")
        if usage_id in self._usages or (self._history.origins and self._is_replayed()):
            return  # counted: in an earlier try, or in the run that this one is a retry of
        usage = members(id=usage_id, provider=provider, model=model, **counts, **more)
        self._usages[usage_id] = usage
        if self.trace is not None:
            self.trace.add_usage(usage)
        self._emit_custom(USAGE, usage)

    @property
    def completion_metadata(self) -> dict[str, Any] | None:
        """The sums of `usage`, overridden by the members that the handler set as `metadata`."""
        sums = summed(self._usages.values())
        if sums is None or self.metadata is None:
            return self.metadata if sums is None else sums
        return sums | self.metadata

    async def finish(self) -> None:
        """End the messages that are still open, and wait until all events are stored."""
        history = self._history
        interrupted = {message_id: _BY_START[start.type] for message_id, start in history.messages.items()}
        for message_id, kind in (interrupted | self._open).items():
            if message_id not in history.ended_messages:
                for end in kind.ends:
                    self.emit_nowait({"type": end, kind.member: message_id})
        self._open.clear()
        await self.flush()

    # For MessageWriter

    @property
    def history(self) -> History:
        return self._history

    def uuid_of(self, name: str) -> str:
        """Return the UUID of a name in this run, the same in every try."""
        return str(self._uuid(name))

    def mark_open(self, message_id: str, kind: MessageKind) -> None:
        self._open[message_id] = kind

    def mark_ended(self, message_id: str) -> None:
        self._open.pop(message_id, None)
        self._history.ended_messages.add(message_id)

    async def stored_text(self, kind: MessageKind, message_id: str) -> str:
        """Return the text that the log has of a message."""
        after = self._history.messages[message_id].event_id
        parts = [
            str(event.payload.get("delta", ""))
            async for event in self.stored_events(self.run.run_id, (kind.content,), after)
            if event.payload.get(kind.member) == message_id
        ]
        return "".join(parts)


class MessageWriter:
    """Emits one message in parts, under one id."""

    def __init__(
        self, context: MessageStream, kind: MessageKind, name: str, start: Mapping[str, Any]
    ) -> None:
        """`name` identifies the message in its run. `start` holds the members of its start event."""
        self._context = context
        self._kind = kind
        self._start_members = start
        self.id = context.uuid_of(name)
        self._ended = False
        self._stored = ""  # stored text that this try has not repeated yet
        self._repeated = ""  # stored text that this try has repeated

    def _emit(self, event_type: str, **members: Any) -> None:
        self._context.emit_nowait({"type": event_type, self._kind.member: self.id, **members})

    async def open(self) -> None:
        history = self._context.history
        while self.id in history.replacements:
            self.id = history.replacements[self.id]
        if self.id in history.ended_messages:
            self._ended = True
        elif self.id in history.messages:
            self._stored = await self._context.stored_text(self._kind, self.id)
            self._context.mark_open(self.id, self._kind)
        else:
            self._start()

    def _start(self) -> None:
        for start in self._kind.starts:
            self._emit(start, **(self._start_members if start == self._kind.starts[-1] else {}))
        self._context.mark_open(self.id, self._kind)

    async def write(self, delta: str) -> None:
        if self._ended:
            return
        if self._stored:
            length = min(len(delta), len(self._stored))
            if delta[:length] != self._stored[:length]:
                self._replace()
            else:
                self._repeated += delta[:length]
                self._stored, delta = self._stored[length:], delta[length:]
        await self._write_content(delta)

    async def _write_content(self, text: str) -> None:
        if self._context.trace is not None and self._kind is TEXT:
            self._context.trace.add_text(text)
        for start in range(0, len(text), _DELTA_CHARS):
            self._emit(self._kind.content, delta=text[start : start + _DELTA_CHARS])
            await self._context.drain()

    def _replace(self) -> None:
        """End the stored message, whose text differs, and start one that replaces it with the text so far."""
        replacement = self._context.uuid_of(f"{self.id}~")
        self._end(supersededBy=replacement)
        self.id, self._stored = replacement, ""
        self._start()
        if self._repeated:
            self._emit(self._kind.content, delta=self._repeated)

    def _end(self, **members: Any) -> None:
        for end in self._kind.ends:
            self._emit(end, **(members if end == self._kind.ends[0] else {}))
        self._context.mark_ended(self.id)

    def close(self) -> None:
        if self._ended:
            return
        if self._stored:  # the stored text is longer
            self._replace()
        self._end()
        self._ended = True

    def emit_result(self, value: Any, *, is_error: bool) -> None:
        """Emit the result of a tool call, once across tries."""
        history = self._context.history
        if self.id in history.tool_results:
            return
        history.tool_results.add(self.id)
        content = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        members = {
            "messageId": self._context.uuid_of(f"{self.id}/result"),
            "content": content,
            "role": "tool",
        }
        self._emit(RESULT, **members, **({"isError": True} if is_error else {}))

    def interrupt(self) -> None:
        """Handle an exception inside the message.

        In a step the message ends, because a retry of the step emits a new one. In a handler it stays open, because a
        later try may continue it.
        """
        if running_step() is not None and not self._context.cancelled:
            self.close()


class _Emitted:
    """What is emitted whole when it is awaited, or in parts within `async with`."""

    def __init__(self, writer: MessageWriter) -> None:
        self._writer = writer
        self.used = False

    @property
    def id(self) -> str:
        return self._writer.id

    async def __aenter__(self) -> Self:
        self.used = True
        await self._writer.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._writer.close()
        else:
            self._writer.interrupt()

    async def write_whole(self) -> None:
        """Emit all of it."""
        async with self:
            pass

    def __await__(self) -> Generator[Any, None, None]:
        return self.write_whole().__await__()


class Message(_Emitted):
    """A message, or reasoning, that is being emitted. `id` is its messageId."""

    def __init__(self, writer: MessageWriter, text: str | None) -> None:
        super().__init__(writer)
        self._text = text

    async def write(self, delta: str) -> None:
        """Emit the next part."""
        await self._writer.write(delta)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._text is not None:
            await self._writer.write(self._text)
        return self

    async def write_whole(self) -> None:
        """Emit the whole message."""
        if self._text is None:
            raise TypeError('Give the whole text, as in await ctx.text("Hello"), or use async with')
        await super().write_whole()


class ToolCall(_Emitted):
    """A tool call that is being emitted. `id` is its toolCallId.

    Set `result` (any JSON); set `is_error` too where the result is an error.
    """

    def __init__(self, writer: MessageWriter, arguments: Any, result: Any) -> None:
        super().__init__(writer)
        self._arguments = arguments
        self.result = result
        self.is_error = False

    async def write(self, delta: str) -> None:
        """Emit the next part of the arguments' JSON."""
        if self._arguments is not None:
            raise TypeError("The whole arguments were given already")
        await self._writer.write(delta)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._arguments is not None:
            await self._writer.write(msgspec.json.encode(self._arguments).decode())
            self._writer.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._writer.interrupt()
            if running_step() is None or not isinstance(error, Exception):
                return
            self.result, self.is_error = str(error) or type(error).__name__, True
        self._writer.close()
        if self.result is not msgspec.UNSET:
            self._writer.emit_result(self.result, is_error=self.is_error)
