"""The AG-UI event types that clients know, with their members (docs.ag-ui.com/concepts/events; contract A4).

They are documented and not enforced: an event of another type, or with other members, is stored unchanged.
"""

from typing import Final, Literal

import msgspec

from runstead.core.runs.event import DELTA_TYPES, TERMINAL_TYPES, EventClass

JsonType = Literal["string", "boolean", "object", "array", "any"]


class EventMember(msgspec.Struct, frozen=True):
    """A member of an event besides `type`. Clients ignore an event without a `required` member."""

    name: str
    type: JsonType
    required: bool


class EventType(msgspec.Struct, frozen=True):
    """An event type. `class`: a fact, or a delta that a later event completes. `appendable`: clients may
    append it; the other types are written when the run is completed.
    """

    type: str
    event_class: EventClass = msgspec.field(name="class")
    appendable: bool
    members: tuple[EventMember, ...]


#: Type → members. `name` is required, `name?` is optional. A colon precedes a type other than string.
_MEMBERS: Final = {
    "RUN_STARTED": "runId threadId",
    "RUN_FINISHED": "runId threadId metadata?:object",
    "RUN_ERROR": "message code?",
    "TEXT_MESSAGE_START": "messageId role",
    "TEXT_MESSAGE_CONTENT": "messageId delta",
    "TEXT_MESSAGE_CHUNK": "messageId? role? delta?",
    "TEXT_MESSAGE_END": "messageId",
    "REASONING_START": "messageId",
    "REASONING_MESSAGE_START": "messageId role",
    "REASONING_MESSAGE_CONTENT": "messageId delta",
    "REASONING_MESSAGE_CHUNK": "messageId? delta?",
    "REASONING_MESSAGE_END": "messageId",
    "REASONING_END": "messageId",
    "TOOL_CALL_START": "toolCallId toolCallName parentMessageId?",
    "TOOL_CALL_ARGS": "toolCallId delta",
    "TOOL_CALL_CHUNK": "toolCallId? toolCallName? parentMessageId? delta?",
    "TOOL_CALL_END": "toolCallId",
    "TOOL_CALL_RESULT": "messageId toolCallId content?:any result?:any isError?:boolean",
    "STATE_SNAPSHOT": "snapshot:any",
    "STATE_DELTA": "delta:array",
    "MESSAGES_SNAPSHOT": "messages:array",
    "STEP_STARTED": "stepName",
    "STEP_FINISHED": "stepName",
    "CUSTOM": "name value:any",
}


def _member(text: str) -> EventMember:
    name, _, kind = text.partition(":")
    return EventMember(name.removesuffix("?"), msgspec.convert(kind or "string", JsonType), name[-1] != "?")


EVENT_TYPES: Final = tuple(
    EventType(
        name,
        "delta" if name in DELTA_TYPES else "fact",
        name not in TERMINAL_TYPES,
        tuple(map(_member, members.split())),
    )
    for name, members in _MEMBERS.items()
)
