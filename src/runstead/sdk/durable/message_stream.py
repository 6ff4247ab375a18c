"""How a handler speaks while it works: text, thoughts and tool calls as AG-UI events, and what the models used.

A handler that is taken up again says again what it said outside of steps. What the log has of it is not told twice: a
message that ended there is dropped, one that was cut off goes on where it stopped. Where the new words are not the old
ones, the old message is ended and the new one told whole.
"""

import hashlib
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from runstead.sdk.durable.branch import running_step
from runstead.sdk.durable.history import CUSTOM, RESULT, USAGE, History
from runstead.sdk.durable.waits import Waits
from runstead.sdk.models.usage import summed

Role = Literal["assistant", "user", "system", "developer"]

#: A longer delta is cut: an event's JSON must stay under 256 KiB, however it is escaped.
_DELTA_CHARS: Final = 32 * 1024


class MessageKind(msgspec.Struct, frozen=True):
    """The events that something is told in, in order; the last of `starts` and the first of `ends` bound it."""

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
TOOL: Final = MessageKind("c", ("TOOL_CALL_START",), "TOOL_CALL_ARGS", ("TOOL_CALL_END",), "toolCallId")
_BY_START: Final = {kind.starts[-1]: kind for kind in (TEXT, REASONING, TOOL)}


class MessageStream(Waits):
    """The speaking part of a context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[str, MessageKind] = {}  # what was begun in this attempt and has not ended
        self._usages: dict[str, dict[str, Any]] = {}
        self._placed = 0

    def begin(self, history: History, rounds: int | None = None) -> None:
        super().begin(history, rounds)
        self._open.clear()
        self._usages = dict(history.usages)
        self.restore_logs(history.lines)

    def _place(self, mark: str) -> str:
        """The id of what is told next: the same when the handler runs again."""
        step, branch = running_step(), self.branch
        if step is not None:
            return step.next_emit_id(mark)
        if branch is not None:
            return branch.next_emit_id(mark)
        self._placed += 1
        return f"{self.run.attempt}//{mark}{self._placed}"

    async def emit(self, event: Mapping[str, Any]) -> None:
        """Append one event: an object with a string `type`, in AG-UI form. It goes out after 50 ms, or with 24 events or
        512 KiB. Said again by a handler that is taken up again, at the same place and with the same members, it is
        stored once.
        """
        if self.branch is not None and running_step() is None and "idempotency_key" not in event:
            # One that is in_step deep has a place longer than a key may be: both are hashed.
            told = [self._place("e"), event]
            digest = hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()
            event = {**event, "idempotency_key": f"told:{digest}"}
        await super().emit(event)

    def text(self, whole: str | None = None, *, role: Role = "assistant") -> "Message":
        """A message. `await ctx.text("Hello")` tells it whole;
        `async with ctx.text() as message: await message.write("Hel")` part by part.
        """
        return Message(MessageWriter(self, TEXT, self._place("m"), {"role": role}), whole)

    def reasoning(self, whole: str | None = None) -> "Message":
        """What the model thinks, told as `text` is."""
        return Message(MessageWriter(self, REASONING, self._place("r"), {"role": "reasoning"}), whole)

    def tool_call(self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET) -> "ToolCall":
        """A call of a tool, and what came of it (any JSON). `await ctx.tool_call("search", {"q": "x"}, result=found)`, or
        `async with ctx.tool_call("search", {"q": "x"}) as call: call.result = await search("x")`. Without `arguments`,
        `await call.write(…)` tells their JSON part by part.
        """
        return ToolCall(
            MessageWriter(self, TOOL, self._place("c"), {"toolCallName": name}), arguments, result
        )

    def usage(
        self,
        provider: str,
        model: str,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_input_tokens: int = 0,
        reasoning_tokens: int = 0,
        finish_reason: str | None = None,
        provider_request_id: str | None = None,
        partial: bool = False,
    ) -> None:
        """Note what one call of a model used, in tokens; it is kept in the log, and told once. The sums are the run's
        metadata. `partial`: the provider did not tell all of it.
        """
        counts = {
            "inputTokens": input_tokens,
            "outputTokens": output_tokens,
            "cachedInputTokens": cached_input_tokens,
            "reasoningTokens": reasoning_tokens,
        }
        for name, count in counts.items():
            if count < 0:
                raise ValueError(f"{name} must not be below 0, and is {count}")
        used_id = self._place("u")
        if used_id in self._usages:
            return
        told = {"id": used_id, "provider": provider, "model": model, **counts, "partial": partial}
        told |= {"finishReason": finish_reason, "providerRequestId": provider_request_id}
        told = {name: value for name, value in told.items() if value is not None}
        self._usages[used_id] = told
        self.emit_nowait({"type": CUSTOM, "name": USAGE, "value": told})

    @property
    def completion_metadata(self) -> dict[str, Any] | None:
        """The sums of `usage`, and over them what the handler has set as `metadata`."""
        used = summed(self._usages.values())
        if used is None or self.metadata is None:
            return self.metadata if used is None else used
        return used | self.metadata

    async def finish(self) -> None:
        """End what was begun and never ended, and wait until all that was told is stored."""
        history = self._history
        cut_off = {told: _BY_START[begun.type] for told, begun in history.told.items()}
        for told, kind in (cut_off | self._open).items():
            if told not in history.ended:
                for end in kind.ends:
                    self.emit_nowait({"type": end, kind.member: told})
        self._open.clear()
        await self.flush()

    # For what is being told

    @property
    def history(self) -> History:
        return self._history

    def id_of(self, place: str) -> str:
        return str(self._uuid(place))

    def speaks(self, told: str, kind: MessageKind) -> None:
        self._open[told] = kind

    def has_spoken(self, told: str) -> None:
        self._open.pop(told, None)
        self._history.ended.add(told)

    async def logged(self, kind: MessageKind, told: str) -> str:
        """What the log has of a message that was begun."""
        after, parts = self._history.told[told].event_id, []
        while True:
            asked = self.calls.list_events(
                self.run.run_id, after_event_id=after, limit=500, event_types=[kind.content]
            )
            page = await self.send(asked)
            parts += [
                str(event.payload.get("delta", ""))
                for event in page.data
                if event.payload.get(kind.member) == told
            ]
            if page.page_info.next is None:
                return "".join(parts)
            after = int(page.page_info.next)


class MessageWriter:
    """Something told part by part, under one id."""

    def __init__(
        self, context: MessageStream, kind: MessageKind, place: str, head: Mapping[str, Any]
    ) -> None:
        self._context = context
        self._kind = kind
        self._head = head
        self.id = str(context.id_of(place))
        self._over = False  # all of it is in the log
        self._logged = ""  # what the log has of it, as far as it was not said again
        self._again = ""  # what was said again

    def _tell(self, kind: str, **members: Any) -> None:
        self._context.emit_nowait({"type": kind, self._kind.member: self.id, **members})

    async def open(self) -> None:
        history = self._context.history
        while self.id in history.followers:
            self.id = history.followers[self.id]
        if self.id in history.ended:
            self._over = True
        elif self.id in history.told:
            self._logged = await self._context.logged(self._kind, self.id)
            self._context.speaks(self.id, self._kind)
        else:
            self._start()

    def _start(self) -> None:
        for start in self._kind.starts:
            self._tell(start, **(self._head if start == self._kind.starts[-1] else {}))
        self._context.speaks(self.id, self._kind)

    async def write(self, delta: str) -> None:
        if self._over:
            return
        if self._logged:
            length = min(len(delta), len(self._logged))
            if delta[:length] != self._logged[:length]:
                self._supersede()
            else:
                self._again += delta[:length]
                self._logged, delta = self._logged[length:], delta[length:]
        await self._content(delta)

    async def _content(self, text: str) -> None:
        for start in range(0, len(text), _DELTA_CHARS):
            self._tell(self._kind.content, delta=text[start : start + _DELTA_CHARS])
            await self._context.drain()

    def _supersede(self) -> None:
        """The words are others than the log's: end what is there, and begin anew with what was said so far."""
        follower = str(self._context.id_of(f"{self.id}~"))
        self._end(supersededBy=follower)
        self.id, self._logged = follower, ""
        self._start()
        if self._again:
            self._tell(self._kind.content, delta=self._again)

    def _end(self, **members: Any) -> None:
        for end in self._kind.ends:
            self._tell(end, **(members if end == self._kind.ends[0] else {}))
        self._context.has_spoken(self.id)

    def close(self) -> None:
        if self._over:
            return
        if self._logged:  # it ends sooner than the log has it
            self._supersede()
        self._end()
        self._over = True

    def result(self, value: Any, *, is_error: bool) -> None:
        """What came of a tool call, once."""
        history = self._context.history
        if self.id in history.results:
            return
        history.results.add(self.id)
        content = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        told = {
            "messageId": str(self._context.id_of(f"{self.id}/result")),
            "content": content,
            "role": "tool",
        }
        self._tell(RESULT, **told, **({"isError": True} if is_error else {}))

    def leave(self) -> None:
        """It is left by an error. In a step, which is tried anew as a whole, it ends; a handler may come back to it."""
        if running_step() is not None and not self._context.cancelled:
            self.close()


class Message:
    """A message, or a thought, that is being told. `id` is its messageId."""

    def __init__(self, stream: MessageWriter, whole: str | None) -> None:
        self._stream = stream
        self._whole = whole

    @property
    def id(self) -> str:
        return self._stream.id

    async def write(self, delta: str) -> None:
        """Tell the next part of it."""
        await self._stream.write(delta)

    async def __aenter__(self) -> Self:
        await self._stream.open()
        if self._whole is not None:
            await self._stream.write(self._whole)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._stream.close()
        else:
            self._stream.leave()

    async def emit_nowait(self) -> None:
        """Tell it whole."""
        if self._whole is None:
            raise TypeError('Give the whole text, as in await ctx.text("Hello"), or use async with')
        async with self:
            pass

    def __await__(self) -> Generator[Any, None, None]:
        return self.emit_nowait().__await__()


class ToolCall:
    """A tool call that is being told. Set `result` (any JSON), and `is_error` where it is none; `id` is its toolCallId."""

    def __init__(self, stream: MessageWriter, arguments: Any, result: Any) -> None:
        self._stream = stream
        self._arguments = arguments
        self.result = result
        self.is_error = False

    @property
    def id(self) -> str:
        return self._stream.id

    async def write(self, delta: str) -> None:
        """Tell the next part of its arguments' JSON."""
        if self._arguments is not None:
            raise TypeError("The arguments were given whole")
        await self._stream.write(delta)

    async def __aenter__(self) -> Self:
        await self._stream.open()
        if self._arguments is not None:
            await self._stream.write(msgspec.json.encode(self._arguments).decode())
            self._stream.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stream.leave()
            if running_step() is None or not isinstance(error, Exception):
                return
            self.result, self.is_error = str(error) or type(error).__name__, True
        self._stream.close()
        if self.result is not msgspec.UNSET:
            self._stream.result(self.result, is_error=self.is_error)

    async def emit_nowait(self) -> None:
        """Tell it whole."""
        async with self:
            pass

    def __await__(self) -> Generator[Any, None, None]:
        return self.emit_nowait().__await__()
