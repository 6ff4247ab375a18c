"""Events: the facts of a run, in order. AG-UI names (docs.ag-ui.com/concepts/events), one number each."""

from typing import Any, Final, Literal

import msgspec

from runstead.core.runs.artifact import Stored

encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Any]).decode

EventClass = Literal["fact", "delta"]

RUN_FINISHED: Final = "RUN_FINISHED"
RUN_ERROR: Final = "RUN_ERROR"
RUN_STARTED: Final = "RUN_STARTED"
TOOL_CALL_RESULT: Final = "TOOL_CALL_RESULT"
CUSTOM: Final = "CUSTOM"

TERMINAL_TYPES: Final = frozenset({RUN_FINISHED, RUN_ERROR})

#: Never in public lists, streams or snapshots; not counted by the external sequence.
PRIVATE_TYPES: Final = frozenset({"AGENT_RUN_MODEL_CALL_CONTEXT"})

#: Parts of a whole that a later event concludes. All others state facts.
DELTA_TYPES: Final = frozenset(
    {
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CHUNK",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_CHUNK",
        "STATE_DELTA",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_CHUNK",
    }
)


class NewEvent(msgspec.Struct, frozen=True):
    """An event that a transition wants stored; the store gives it the next number."""

    type: str
    payload: bytes  # a JSON object with "type", one line
    external: bool = False  # appended by a client, not written by the server
    private: bool = False
    is_error: bool = False
    key: str | None = None  # its `idempotency_key`: stored once per run
    digest: bytes | None = None  # of the payload, where there is a key

    @property
    def event_class(self) -> EventClass:
        return "delta" if self.type in DELTA_TYPES else "fact"

    @property
    def counted(self) -> bool:
        """Whether the external sequence counts it."""
        return self.external and not self.private


class Event(msgspec.Struct, frozen=True):
    """A stored event. `sequence` is the run's external sequence once this event was stored."""

    event_id: int
    type: str
    payload: bytes
    created_at: int
    external: bool
    private: bool
    is_error: bool
    sequence: int


def members_of(event: Event) -> dict[str, Any] | None:
    """The members of an event's payload. None where the payload cannot be read: clients append what they like."""
    try:
        return _members(event.payload)
    except (ValueError, RecursionError):
        return None


class FamilyEvent(msgspec.Struct, frozen=True):
    """An event of one of a family's runs. `position`: it is the n-th that was stored in the whole family."""

    run_id: str
    position: int
    event: Event

    @property
    def type(self) -> str:
        return self.event.type


def tool_result(tool_call_id: str | None, result: Any, *, is_error: bool) -> NewEvent:
    """`content` is text, since AG-UI allows no other value there; what is not text stands whole in `result`."""
    told: dict[str, Any] = {"type": TOOL_CALL_RESULT, "messageId": f"{tool_call_id}-result"}
    told["toolCallId"] = tool_call_id
    if isinstance(result, str):
        told["content"] = result
    else:
        told |= {"content": encode(result).decode(), "result": result}
    return NewEvent(TOOL_CALL_RESULT, encode({**told, "isError": is_error}), is_error=is_error)


def resumed(kind: str, tool_call_id: str | None, result: Any = None, *, is_error: bool = False) -> NewEvent:
    """What a wait got that is no tool's result."""
    value = {"type": kind, "tool_call_id": tool_call_id, "result": result, "is_error": is_error}
    return NewEvent(
        CUSTOM, encode({"type": CUSTOM, "name": "run.resumed", "value": value}), is_error=is_error
    )


def artifact_stored(artifact: Stored) -> NewEvent:
    """That a run has an artifact. Where its content is kept is nobody's business who reads the log."""
    value = {name: getattr(artifact, name) for name in ("name", "media_type", "size", "sha256", "uri")}
    return NewEvent(CUSTOM, encode({"type": CUSTOM, "name": "run.artifact", "value": value}))


def finished(run_id: str, thread_id: str, metadata: bytes | None) -> NewEvent:
    told: dict[str, Any] = {"type": RUN_FINISHED, "threadId": thread_id, "runId": run_id}
    if metadata is not None:
        told["metadata"] = msgspec.Raw(metadata)
    return NewEvent(RUN_FINISHED, encode(told))


def failed(message: str, code: str | None) -> NewEvent:
    """The end of a failed or cancelled run."""
    told = {"type": RUN_ERROR, "message": message} | ({} if code is None else {"code": code})
    return NewEvent(RUN_ERROR, encode(told), is_error=True)


_words: dict[str, str] = {}


def pascal(event_type: str) -> str:
    """`TOOL_CALL_START` → `ToolCallStart`: the name of a server-sent event.

    Types are the caller's: what is no letter, digit or underscore is dropped, so a line break cannot end a frame.
    """
    name = _words.get(event_type)
    if name is None:
        cleaned = "".join(c for c in event_type if c == "_" or (c.isascii() and c.isalnum()))
        name = "".join(word[:1].upper() + word[1:].lower() for word in cleaned.split("_")) or "Event"
        if len(_words) < 1_000:
            _words[event_type] = name
    return name
