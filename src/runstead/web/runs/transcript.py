"""What a run says, as it says it: text, reasoning and tool calls, folded from its events one by one. Pure.

`core/conversations/projection.py` folds a whole log into one message. This tells only what has changed since it was asked last, so that a page
grows without being made anew. The rules are the same: nothing that a client appended is an error.
"""

from typing import Any, Final, Literal, NamedTuple

import msgspec

from runstead.core.runs.event import Event, members_of
from runstead.web.framework.labels import New, Words
from runstead.web.framework.text import cut, pretty

Kind = Literal["text", "reasoning", "call"]
State = Literal["open", "done", "failed"]

_TEXTS: Final[dict[str, Kind]] = {"TEXT_MESSAGE": "text", "REASONING_MESSAGE": "reasoning"}
TYPES: Final = (
    *(f"{family}_{step}" for family in _TEXTS for step in ("START", "CONTENT", "CHUNK", "END")),
    *(f"TOOL_CALL_{step}" for step in ("START", "ARGS", "CHUNK", "END", "RESULT")),
)
label_chars_max: Final = 120


class Said(NamedTuple):
    """A block, or what is new of it. `words` are the text, or the arguments of a call as they come; `arguments` (once they
    are whole) and `result` are for reading.
    """

    id: str
    kind: Kind
    label: str
    state: State
    words: New
    arguments: str | None
    result: str | None


class _Block:
    def __init__(self, number: int, kind: Kind, label: str) -> None:
        self.id = f"said-{number}"
        self.kind = kind
        self.label = label[:label_chars_max]
        self.state: State = "open"
        self.words = Words()
        self.whole_arguments: str | None = None
        self.result: str | None = None

    def said(self, words: New) -> Said:
        return Said(self.id, self.kind, self.label, self.state, words, self.whole_arguments, self.result)


class Talk:
    """Takes events of `TYPES` in order. A block is named after the event that began it."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._open: dict[tuple[str, str], _Block] = {}
        self._calls: dict[str, _Block] = {}
        self._current: dict[str, str] = {}  # the id that deltas without one belong to, by kind of block
        self._fresh: dict[str, _Block] = {}

    def add(self, event: Event) -> None:
        family, _, step = event.type.rpartition("_")
        if family not in _TEXTS and family != "TOOL_CALL":
            return
        told = members_of(event)
        if told is None:
            return
        if family in _TEXTS:
            self._add_text(event.event_id, _TEXTS[family], step, told)
        elif step == "RESULT":
            self._add_result(event, told)
        else:
            self._add_call(event.event_id, step, told)

    def whole(self) -> list[Said]:
        """All blocks from their beginning. What comes later is new."""
        self.new()
        return [block.said(New(0, block.words.whole)) for block in self._blocks]

    def new(self) -> list[Said]:
        """What has changed since either was asked last."""
        fresh, self._fresh = self._fresh, {}
        return [block.said(block.words.new()) for block in fresh.values()]

    def _begin(self, number: int, kind: Kind, label: str) -> _Block:
        block = _Block(number, kind, label)
        self._blocks.append(block)
        return block

    def _add_text(self, number: int, kind: Kind, step: str, told: dict[str, Any]) -> None:
        key = _text(told.get("messageId")) or self._current.get(kind, "")
        block = self._open.get((kind, key))
        if step == "END":
            if block is not None:
                block.state = "done"
                self._fresh[block.id] = block
                del self._open[kind, key]
            return
        parted = step == "CHUNK" and block is not None and self._blocks[-1] is not block
        if block is None or step == "START" or parted:
            if block is not None:
                block.state = "done"
                self._fresh[block.id] = block
            label = _text(told.get("role")) or ("assistant" if kind == "text" else "reasoning")
            block = self._open[kind, key] = self._begin(number, kind, label)
        self._current[kind] = key
        block.words.add(_text(told.get("delta")))
        self._fresh[block.id] = block

    def _add_call(self, number: int, step: str, told: dict[str, Any]) -> None:
        key = _text(told.get("toolCallId")) or self._current.get("call")
        if key is None:
            return
        block = self._calls.get(key)
        if step == "END":
            if block is not None:
                block.whole_arguments = pretty(block.words.whole.encode("utf-8", "replace"))
                self._fresh[block.id] = block
            return
        if block is None or step == "START":
            name = _text(told.get("toolCallName")) or "unknown"
            block = self._calls[key] = self._begin(number, "call", name)
        self._current["call"] = key
        block.words.add(_text(told.get("delta")))
        self._fresh[block.id] = block

    def _add_result(self, event: Event, told: dict[str, Any]) -> None:
        key = _text(told.get("toolCallId"))
        block = self._calls.get(key)
        if block is None:
            block = self._calls[key] = self._begin(event.event_id, "call", key or "unknown")
            block.whole_arguments = ""
        result = told["result"] if "result" in told else told.get("content")
        block.result = cut(result) if isinstance(result, str) else pretty(msgspec.json.encode(result))
        block.state = "failed" if told.get("isError") is True else "done"
        if block.whole_arguments is None:
            block.whole_arguments = pretty(block.words.whole.encode("utf-8", "replace"))
        self._fresh[block.id] = block


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
