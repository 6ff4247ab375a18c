"""The live transcript of a run: text, reasoning and tool calls, built from its events one by one. Pure.

`core/conversations/projection.py` projects a whole log into one message. This module returns only what changed
since the last call, so that a page can be extended. The rules are the same: events of clients never cause an
error.
"""

from typing import Any, Final, Literal, NamedTuple

import msgspec

from runstead.core.runs.event import Event, members_of
from runstead.web.framework.growing_text import GrowingText, TextDelta
from runstead.web.framework.text import cut, pretty

Kind = Literal["text", "reasoning", "call"]
State = Literal["open", "done", "failed"]

_TEXTS: Final[dict[str, Kind]] = {"TEXT_MESSAGE": "text", "REASONING_MESSAGE": "reasoning"}
TYPES: Final = (
    *(f"{family}_{step}" for family in _TEXTS for step in ("START", "CONTENT", "CHUNK", "END")),
    *(f"TOOL_CALL_{step}" for step in ("START", "ARGS", "CHUNK", "END", "RESULT")),
)
label_chars_max: Final = 120


class TranscriptPart(NamedTuple):
    """A block, or what was added to it.

    `delta` is text, or raw arguments of a tool call while they arrive. `arguments` and `result` are formatted
    for display; `arguments` is None until they are complete.
    """

    id: str
    kind: Kind
    label: str
    state: State
    delta: TextDelta
    arguments: str | None
    result: str | None


class _Block:
    def __init__(self, number: int, kind: Kind, label: str) -> None:
        self.id = f"part-{number}"
        self.kind = kind
        self.label = label[:label_chars_max]
        self.state: State = "open"
        self.text = GrowingText()
        self.whole_arguments: str | None = None
        self.result: str | None = None

    def part(self, delta: TextDelta) -> TranscriptPart:
        return TranscriptPart(
            id=self.id,
            kind=self.kind,
            label=self.label,
            state=self.state,
            delta=delta,
            arguments=self.whole_arguments,
            result=self.result,
        )


class Transcript:
    """Builds blocks from events of `TYPES`, in order. A block's id contains the event that started it."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._open: dict[tuple[str, str], _Block] = {}
        self._calls: dict[str, _Block] = {}
        self._current: dict[str, str] = {}  # the id for deltas without an id, by kind of block
        self._changed: dict[str, _Block] = {}

    def add(self, event: Event) -> None:
        family, _, step = event.type.rpartition("_")
        if family not in _TEXTS and family != "TOOL_CALL":
            return
        payload = members_of(event)
        if payload is None:
            return
        if family in _TEXTS:
            self._add_text(event.event_id, _TEXTS[family], step, payload)
        elif step == "RESULT":
            self._add_result(event, payload)
        else:
            self._add_call(event.event_id, step, payload)

    def whole(self) -> list[TranscriptPart]:
        """All blocks, whole. `new` returns what is added later."""
        self.new()
        return [block.part(TextDelta(0, block.text.whole)) for block in self._blocks]

    def new(self) -> list[TranscriptPart]:
        """The blocks that changed since the last call of `whole` or `new`."""
        changed, self._changed = self._changed, {}
        return [block.part(block.text.new()) for block in changed.values()]

    def _add_block(self, number: int, kind: Kind, label: str) -> _Block:
        block = _Block(number, kind, label)
        self._blocks.append(block)
        return block

    def _add_text(self, number: int, kind: Kind, step: str, payload: dict[str, Any]) -> None:
        key = _text(payload.get("messageId")) or self._current.get(kind, "")
        block = self._open.get((kind, key))
        if step == "END":
            if block is not None:
                block.state = "done"
                self._changed[block.id] = block
                del self._open[kind, key]
            return
        interrupted = step == "CHUNK" and block is not None and self._blocks[-1] is not block
        if block is None or step == "START" or interrupted:
            if block is not None:
                block.state = "done"
                self._changed[block.id] = block
            label = _text(payload.get("role")) or ("assistant" if kind == "text" else "reasoning")
            block = self._open[kind, key] = self._add_block(number, kind, label)
        self._current[kind] = key
        block.text.add(_text(payload.get("delta")))
        self._changed[block.id] = block

    def _add_call(self, number: int, step: str, payload: dict[str, Any]) -> None:
        key = _text(payload.get("toolCallId")) or self._current.get("call")
        if key is None:
            return
        block = self._calls.get(key)
        if step == "END":
            if block is not None:
                block.whole_arguments = pretty(block.text.whole.encode("utf-8", "replace"))
                self._changed[block.id] = block
            return
        if block is None or step == "START":
            name = _text(payload.get("toolCallName")) or "unknown"
            block = self._calls[key] = self._add_block(number, "call", name)
        self._current["call"] = key
        block.text.add(_text(payload.get("delta")))
        self._changed[block.id] = block

    def _add_result(self, event: Event, payload: dict[str, Any]) -> None:
        key = _text(payload.get("toolCallId"))
        block = self._calls.get(key)
        if block is None:
            block = self._calls[key] = self._add_block(event.event_id, "call", key or "unknown")
            block.whole_arguments = ""
        result = payload["result"] if "result" in payload else payload.get("content")
        block.result = cut(result) if isinstance(result, str) else pretty(msgspec.json.encode(result))
        block.state = "failed" if payload.get("isError") is True else "done"
        if block.whole_arguments is None:
            block.whole_arguments = pretty(block.text.whole.encode("utf-8", "replace"))
        self._changed[block.id] = block


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
