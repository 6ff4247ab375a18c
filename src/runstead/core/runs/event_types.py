"""The AG-UI event types that clients know, with their members (docs.ag-ui.com/concepts/events; contract A4).

They are told, not enforced: an event of any other type, or with other members, is stored as it is.
"""

from typing import Final, Literal

import msgspec

from runstead.core.runs.event import DELTA_TYPES, TERMINAL_TYPES, EventClass

JsonType = Literal["string", "boolean", "object", "array", "any"]


class EventMember(msgspec.Struct, frozen=True):
    """A member beside `type`. `required`: clients do without the event where it is missing."""

    name: str
    type: JsonType
    required: bool


class EventType(msgspec.Struct, frozen=True):
    """`class`: a fact, or a delta that a later event concludes. `appendable`: clients may append it; the others are
    written by completing the run.
    """

    type: str
    event_class: EventClass = msgspec.field(name="class")
    appendable: bool
    members: tuple[EventMember, ...]


#: `name` is required, `name?` is not; a type other than string follows a colon.
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


def _member(told: str) -> EventMember:
    name, _, kind = told.partition(":")
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
