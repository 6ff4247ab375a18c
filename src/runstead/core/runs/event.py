"""Events of a run, numbered in order. Types and members follow AG-UI (docs.ag-ui.com/concepts/events)."""

from typing import Any, Final, Literal

import msgspec

from runstead.core.clock import iso
from runstead.core.runs.artifact import Stored
from runstead.core.runs.values import NamedValue, Progress
from runstead.core.usage.usage import Reported

encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Any]).decode

EventClass = Literal["fact", "delta"]

Source = Literal["server", "worker", "writer", "caller", "retry"]
"""Who wrote an event: the server; the worker that holds the run's lease; a run-event-writer token or a push service;
another caller; a retry, which copies events of the earlier run."""

Owner = Literal["lease_holder", "server"]
"""Who alone may append a reserved event."""

RUN_FINISHED: Final = "RUN_FINISHED"
RUN_ERROR: Final = "RUN_ERROR"
RUN_STARTED: Final = "RUN_STARTED"
TOOL_CALL_RESULT: Final = "TOOL_CALL_RESULT"
CUSTOM: Final = "CUSTOM"

RESUMED: Final = "run.resumed"
RETRY_FROM: Final = "run.retry_from"
"""The name of the CUSTOM event after copied events: {run_id, step_id, event_id}."""

TERMINAL_TYPES: Final = frozenset({RUN_FINISHED, RUN_ERROR})

#: Sources of events that clients append. The external sequence counts them.
EXTERNAL_SOURCES: Final[frozenset[Source]] = frozenset({"worker", "writer", "caller"})

#: The names of the CUSTOM events that are reserved begin with this.
RESERVED_PREFIX: Final = "run."
#: Types of the durable log: reserved where the event has a `stepId`.
STEP_TYPES: Final = frozenset({"STEP_STARTED", "STEP_FINISHED"})

#: Event types that never appear in public lists, streams or snapshots. The external sequence does not count
#: them.
PRIVATE_TYPES: Final = frozenset({"AGENT_RUN_MODEL_CALL_CONTEXT"})

#: Event types that carry a part of a value which a later event completes. All other types are facts.
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
    """An event to be stored. The store assigns the next number."""

    type: str
    payload: bytes  # a JSON object with "type", one line
    source: Source = "server"
    private: bool = False
    is_error: bool = False
    owner: Owner | None = None  # `owner_of` of an appended event
    key: str | None = None  # the `idempotency_key`, unique in the run
    digest: bytes | None = None  # digest of the payload, if there is a key
    # What the event sets on its run, or counts for budgets
    sets: Progress | NamedValue | Reported | None = None

    @property
    def event_class(self) -> EventClass:
        return "delta" if self.type in DELTA_TYPES else "fact"

    @property
    def external(self) -> bool:
        """Whether a client appended it."""
        return self.source in EXTERNAL_SOURCES

    @property
    def counted(self) -> bool:
        """Whether the external sequence counts it."""
        return self.source in EXTERNAL_SOURCES and not self.private


class Event(msgspec.Struct, frozen=True):
    """A stored event. `sequence` is the run's external sequence after this event."""

    event_id: int
    type: str
    payload: bytes
    created_at: int
    source: Source
    private: bool
    is_error: bool
    sequence: int

    @property
    def external(self) -> bool:
        """Whether a client appended it."""
        return self.source in EXTERNAL_SOURCES


def owner_of(event_type: str, name: Any, step_id: Any) -> Owner | None:
    """Return who alone may append an event with these members. None: every client that may append.

    A durable worker reads its progress and its answers from these events.
    """
    if event_type == CUSTOM:
        if not isinstance(name, str) or not name.startswith(RESERVED_PREFIX):
            return None
        return "server" if name in (RESUMED, RETRY_FROM) else "lease_holder"
    return "lease_holder" if step_id is not None and event_type in STEP_TYPES else None


def members_of(event: Event) -> dict[str, Any] | None:
    """The members of an event's payload. None where the payload cannot be read: clients append what they like."""
    try:
        return _members(event.payload)
    except (ValueError, RecursionError):
        return None


class FamilyEvent(msgspec.Struct, frozen=True):
    """An event of a run in a family.

    `position` counts all events of the family in the order of storing, from 1.
    """

    run_id: str
    position: int
    event: Event

    @property
    def type(self) -> str:
        return self.event.type


def tool_result(tool_call_id: str | None, result: Any, *, is_error: bool) -> NewEvent:
    """Build the event of a tool result.

    AG-UI allows only text in `content`; any other value is also in `result`.
    """
    payload: dict[str, Any] = {"type": TOOL_CALL_RESULT, "messageId": f"{tool_call_id}-result"}
    payload["toolCallId"] = tool_call_id
    if isinstance(result, str):
        payload["content"] = result
    else:
        payload |= {"content": encode(result).decode(), "result": result}
    return NewEvent(TOOL_CALL_RESULT, encode({**payload, "isError": is_error}), is_error=is_error)


def resumed(
    kind: str,
    tool_call_id: str | None,
    result: Any = None,
    *,
    is_error: bool = False,
    signal_id: str | None = None,
    occurred_at: int | None = None,
) -> NewEvent:
    """Build the event of a resume that is not a tool result. `signal_id`: the result came with this signal, which is the
    event of the bus that occurred at `occurred_at` (ms).
    """
    value = {"type": kind, "tool_call_id": tool_call_id, "result": result, "is_error": is_error}
    value |= {} if signal_id is None else {"signal_id": signal_id}
    value |= {} if occurred_at is None else {"occurred_at": iso(occurred_at)}
    return NewEvent(CUSTOM, encode({"type": CUSTOM, "name": RESUMED, "value": value}), is_error=is_error)


def artifact_stored(artifact: Stored) -> NewEvent:
    """Build the event of a stored artifact.

    It does not contain the storage key, which readers of the log do not need.
    """
    value = {name: getattr(artifact, name) for name in ("name", "media_type", "size", "sha256", "uri")}
    return NewEvent(CUSTOM, encode({"type": CUSTOM, "name": "run.artifact", "value": value}))


def finished(run_id: str, thread_id: str, metadata: bytes | None) -> NewEvent:
    """Build the terminal event of a completed run. `metadata` is JSON text."""
    payload: dict[str, Any] = {"type": RUN_FINISHED, "threadId": thread_id, "runId": run_id}
    if metadata is not None:
        payload["metadata"] = msgspec.Raw(metadata)
    return NewEvent(RUN_FINISHED, encode(payload))


def failed(message: str, code: str | None) -> NewEvent:
    """Build the terminal event of a failed or cancelled run."""
    payload = {"type": RUN_ERROR, "message": message} | ({} if code is None else {"code": code})
    return NewEvent(RUN_ERROR, encode(payload), is_error=True)


_pascal_names: dict[str, str] = {}


def pascal(event_type: str) -> str:
    """Return the name of a server-sent event for an event type: `TOOL_CALL_START` → `ToolCallStart`.

    Callers choose the types: all characters but letters, digits and underscores are removed, so that a line
    break cannot end a frame.
    """
    name = _pascal_names.get(event_type)
    if name is None:
        cleaned = "".join(c for c in event_type if c == "_" or (c.isascii() and c.isalnum()))
        name = "".join(word[:1].upper() + word[1:].lower() for word in cleaned.split("_")) or "Event"
        if len(_pascal_names) < 1_000:
            _pascal_names[event_type] = name
    return name
