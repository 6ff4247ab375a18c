"""Projections of an agent run's public events: the assistant message and the shared state.

Invalid events never raise an error. Members of the wrong type, missing ids, parts that never started and
patches that do not apply are ignored.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal

import msgspec

from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.runs.event import TERMINAL_TYPES, Event
from runstead.core.runs.run import RunStatus

MessageStatus = Literal["pending", "streaming", "completed", "failed", "cancelled"]

CallState = Literal["streaming", "pending", "completed", "error"]
"""State of a tool call. `streaming`: arguments are still arriving. `pending`: arguments are complete, no
result yet. `completed`: it has a result. `error`: the result is an error, or the run failed or was cancelled
before a result.
"""

encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode

_STATUS: Final[dict[RunStatus, MessageStatus]] = {
    RunStatus.PENDING: "pending",
    RunStatus.RUNNING: "streaming",
    RunStatus.WAITING: "streaming",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
_Undo = list[Callable[[], object]]
_TEXTS: Final = {"TEXT_MESSAGE": "text", "REASONING_MESSAGE": "reasoning"}
_TEXT_STEPS: Final = frozenset({"START", "CONTENT", "CHUNK", "END"})
_CALL_STEPS: Final = frozenset({"START", "ARGS", "CHUNK", "END"})
_SCALAR: Final = (str, int, float, type(None))
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")
_NAMELESS: Final = "unknown"
#: Members that clients read and patch without checking that they exist.
_STATE_MEMBERS: Final = ("invokeAgentChildRuns", "inputRequestsByToolCallId")


class Message(msgspec.Struct, frozen=True):
    """The assistant's message so far, with its parts in the order in which they started.

    A part is `{type: text, text}`, `{type: reasoning, text}`, `{type: tool_call, id, name, input, state}` or
    `{type: tool_result, tool_call_id, output, is_error}`. `input` is always an object. If the arguments are
    not (yet) an object, `input` is empty and `input_text` holds the arguments as they were sent.
    """

    status: MessageStatus
    parts: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")


class _Text:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []

    def part(self) -> dict[str, Any] | None:
        text = "".join(self.pieces)
        return {"type": self.kind, "text": text} if text else None


class _Result:
    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.output: Any = None
        self.is_error = False

    def part(self) -> dict[str, Any]:
        part = {"type": "tool_result", "tool_call_id": self.call_id}
        return {**part, "output": self.output, "is_error": self.is_error}


class _Call:
    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.name = _NAMELESS
        self.pieces: list[str] = []
        self.chunked = False  # its arguments end where the next part begins
        self.ended = False

    def part(self, state: CallState) -> dict[str, Any]:
        text = "".join(self.pieces)
        whole = None if state == "streaming" or not text.strip() else _object(text)
        part = {
            "type": "tool_call",
            "id": self.call_id,
            "name": self.name,
            "input": whole or {},
            "state": state,
        }
        return part if whole is not None or not text.strip() else {**part, "input_text": text}


class Projection:
    """Projects a run's events, added one by one in order. The time is linear in the size of the events."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.latest_event_id = 0
        self.terminal: Event | None = None
        self._parts: list[_Text | _Call | _Result] = []
        self._open: dict[tuple[str, str], _Text] = {}
        self._current: dict[str, str] = {}  # kind of part → the id that deltas without an id belong to
        self._calls: dict[str, _Call] = {}
        self._results: dict[str, _Result] = {}
        self._state = _State()
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Add the next event. Private events and events of other types change nothing."""
        if event.private:
            return
        self.latest_event_id = event.event_id
        if event.type in TERMINAL_TYPES:
            self.terminal = event
            return
        family, _, step = event.type.rpartition("_")
        if family in _TEXTS and step in _TEXT_STEPS:
            self._add_text(_TEXTS[family], step, _object(event.payload) or {})
        elif event.type == "TOOL_CALL_RESULT":
            self._add_result(_object(event.payload) or {})
        elif family == "TOOL_CALL" and step in _CALL_STEPS:
            self._add_call(step, _object(event.payload) or {})
        elif event.type == "STATE_SNAPSHOT":
            self._state.replace((_object(event.payload) or {}).get("snapshot"))
        elif event.type == "STATE_DELTA":
            self._state.patch((_object(event.payload) or {}).get("delta"))

    def message(self, status: RunStatus) -> Message:
        """Return the message so far. `status` is the run's status."""
        parts = (
            part.part(self._call_state(part, status)) if isinstance(part, _Call) else part.part()
            for part in self._parts
        )
        return Message(_STATUS[status], [part for part in parts if part is not None])

    def state(self) -> dict[str, Any]:
        return self._state.shown()

    def snapshot(
        self,
        status: RunStatus,
        *,
        message_id: str,
        created_at: int | None = None,
        child_runs: Mapping[str, Any] | None = None,
        input_requests: Mapping[str, Any] | None = None,
    ) -> list[tuple[int | None, bytes]]:
        """Return `(event_id, event)` pairs that replace all events up to `latest_event_id` for a new reader.

        The pairs are the message as a MESSAGES_SNAPSHOT, the state as a STATE_SNAPSHOT (both without an id),
        and the terminal event if there is one. `created_at` (ms) is the time of the message. `child_runs` and
        `input_requests` are objects by tool call id; their members override the projected state.
        """
        message = self.message(status)
        shown: dict[str, Any] = {"id": message_id, "role": "assistant", "status": message.status}
        shown |= {"content": message.text, "parts": message.parts}
        if created_at is not None:
            shown["createdAt"] = iso(created_at)
        state = self.state()
        for name, overrides in zip(_STATE_MEMBERS, (child_runs, input_requests), strict=True):
            for call_id, stored in (overrides or {}).items():
                projected = state[name].get(call_id)
                state[name][call_id] = {**projected, **stored} if isinstance(projected, dict) else stored
        events: list[tuple[int | None, bytes]] = [
            (None, encode({"type": "MESSAGES_SNAPSHOT", "messages": [shown]})),
            (None, encode({"type": "STATE_SNAPSHOT", "snapshot": state})),
        ]
        if self.terminal is not None:
            events.append((self.terminal.event_id, self.terminal.payload))
        return events

    def _add_text(self, kind: str, step: str, members: dict[str, Any]) -> None:
        key = _text_or_none(members.get("messageId")) or self._current.get(kind, "")
        if step == "END":
            self._open.pop((kind, key), None)
            return
        part = self._open.get((kind, key))
        if part is None or step == "START" or (step == "CHUNK" and self._parts[-1] is not part):
            part = self._open[kind, key] = _Text(kind)
            self._parts.append(part)
        self._current[kind] = key
        delta = members.get("delta")
        if isinstance(delta, str):
            part.pieces.append(delta)

    def _add_call(self, step: str, members: dict[str, Any]) -> None:
        key = _text_or_none(members.get("toolCallId")) or self._current.get("tool_call")
        if key is None or (step == "START" and key != members.get("toolCallId")):
            return
        call = self._calls.get(key)
        if step == "END":
            if call is not None:
                call.ended = True
            return
        if call is None:
            call = self._calls[key] = _Call(key)
            self._parts.append(call)
        elif step == "START":  # another attempt repeats the call: its arguments start again
            call.pieces.clear()
            call.ended = False
        call.chunked = step == "CHUNK"
        call.name = _text_or_none(members.get("toolCallName")) or call.name
        self._current["tool_call"] = key
        delta = members.get("delta")
        if isinstance(delta, str):
            call.pieces.append(delta)

    def _add_result(self, members: dict[str, Any]) -> None:
        key = _text_or_none(members.get("toolCallId"))
        if key is None:
            return
        result = self._results.get(key)
        if result is None:
            result = self._results[key] = _Result(key)
            self._parts.append(result)
        result.output = members["result"] if "result" in members else members.get("content")
        result.is_error = members.get("isError") is True

    def _call_state(self, call: _Call, status: RunStatus) -> CallState:
        result = self._results.get(call.call_id)
        if result is not None:
            return "error" if result.is_error else "completed"
        if status in (RunStatus.FAILED, RunStatus.CANCELLED):
            return "error"
        whole = call.ended or (call.chunked and self._parts[-1] is not call)
        return "streaming" if status is RunStatus.RUNNING and not whole else "pending"


def _object(text: str | bytes) -> dict[str, Any] | None:
    try:
        value = decode(text)
    except (ValueError, RecursionError):  # msgspec's errors and bad UTF-8 are both a ValueError
        return None
    return value if isinstance(value, dict) and not _too_deep(value) else None


def _too_deep(value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(limits.json_depth_max):
        inside = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for node in inside if not isinstance(node, _SCALAR) for child in node]
        if not level:
            return False
    return True


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


class _State:
    """A JSON object that is changed by JSON Patch (RFC 6902). A patch is applied completely or not at all."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {name: {} for name in _STATE_MEMBERS}
        self._copied_bytes = 0

    def replace(self, value: object) -> None:
        if isinstance(value, dict):
            self._root = {**{name: {} for name in _STATE_MEMBERS}, **value}

    def shown(self) -> dict[str, Any]:
        """Return a copy. It is empty if moves made the state deeper than `limits.json_depth_max`."""
        shown: dict[str, Any] = {} if _too_deep(self._root) else decode(encode(self._root))
        for name in _STATE_MEMBERS:
            if not isinstance(shown.get(name), dict):
                shown[name] = {}
        return shown

    def patch(self, operations: object) -> None:
        undo: _Undo = []
        try:
            for operation in operations if isinstance(operations, list) else ():
                self._apply(operation, undo)
        except (ValueError, KeyError, RecursionError):
            for step in reversed(undo):
                step()

    def _apply(self, operation: object, undo: _Undo) -> None:
        match operation:
            case {"op": "add", "path": str(path), "value": value}:
                self._put(_tokens(path), value, undo)
            case {"op": "replace", "path": str(path), "value": value}:
                self._get(_tokens(path))
                self._put(_tokens(path), value, undo, insert=False)
            case {"op": "remove", "path": str(path)}:
                self._take(_tokens(path), undo)
            case {"op": "move", "from": str(source), "path": str(path)} if not path.startswith(f"{source}/"):
                self._put(_tokens(path), self._take(_tokens(source), undo), undo)
            case {"op": "copy", "from": str(source), "path": str(path)}:
                self._put(_tokens(path), self._copy(self._get(_tokens(source))), undo)
            case {"op": "test", "path": str(path), "value": value} if _same(self._get(_tokens(path)), value):
                pass
            case _:
                raise ValueError

    def _get(self, tokens: list[str]) -> Any:
        node: Any = self._root
        for token in tokens:
            if isinstance(node, dict) and token in node:
                node = node[token]
            elif isinstance(node, list):
                node = node[_index(token, len(node) - 1)]
            else:
                raise ValueError(token)
        return node

    def _put(self, tokens: list[str], value: Any, undo: _Undo, *, insert: bool = True) -> None:
        if not tokens:
            if not isinstance(value, dict):
                raise ValueError(tokens)
            undo.append(partial(setattr, self, "_root", self._root))
            self._root = value
            return
        parent, last = self._get(tokens[:-1]), tokens[-1]
        if not isinstance(parent, dict | list):
            raise ValueError(last)  # noqa: TRY004 - one error for every invalid patch
        if isinstance(parent, dict):
            known = last in parent
            undo.append(partial(parent.update, {last: parent[last]}) if known else partial(parent.pop, last))
            parent[last] = value
        else:
            index = len(parent) if insert and last == "-" else _index(last, len(parent) - (not insert))
            place = slice(index, index + (not insert))
            undo.append(partial(parent.__setitem__, slice(index, index + 1), parent[place]))
            parent[place] = [value]

    def _take(self, tokens: list[str], undo: _Undo) -> Any:
        if not tokens:
            raise ValueError(tokens)
        value = self._get(tokens)
        parent, last = self._get(tokens[:-1]), tokens[-1]
        if isinstance(parent, dict):
            undo.append(partial(parent.__setitem__, last, value))
            del parent[last]
        else:
            index = _index(last, len(parent) - 1)
            undo.append(partial(parent.insert, index, value))
            del parent[index]
        return value

    def _copy(self, value: Any) -> Any:
        """Copy a value.

        The total size of all copies is bounded: copies of copies would double the state each time.
        """
        text = encode(value) if self._copied_bytes <= limits.body_bytes_max else b""
        self._copied_bytes += len(text)
        if self._copied_bytes > limits.body_bytes_max:
            raise ValueError(self._copied_bytes)
        return decode(text)


def _tokens(pointer: str) -> list[str]:
    """Parse a JSON Pointer (RFC 6901): `/a~1b/0` → `["a/b", "0"]`."""
    first, *tokens = pointer.split("/")
    if first:
        raise ValueError(pointer)
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def _index(token: str, last: int) -> int:
    if not _INDEX.fullmatch(token) or int(token) > last:
        raise ValueError(token)
    return int(token)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, but true does not equal 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
