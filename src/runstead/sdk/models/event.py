"""Events of a run's log. Types are those of AG-UI; ids start at 1 and increase with each stored event of the run."""

from datetime import datetime
from typing import Any, Final

import msgspec

from runstead.sdk.models.conversation import Projection
from runstead.sdk.models.response import Page, ResponseModel
from runstead.sdk.models.run import Run

TERMINAL_EVENTS: Final = frozenset({"RUN_FINISHED", "RUN_ERROR"})


class Event(ResponseModel, frozen=True, kw_only=True):
    """One event. `payload` is the whole event object, including its `type`.

    `source` is who wrote it: server, worker (the holder of the run's lease), writer (a token that appends events),
    caller or retry (copied from an earlier run); None from a server that is older than this member. `created_at` is
    None for events of a live stream or of a conversation's list, which do not contain it. With include_descendants,
    `run_id` is the event's run, and `cursor` is its position in the family's log.
    """

    event_id: int
    event_type: str
    payload: dict[str, Any]
    created_at: datetime | None = None
    run_id: str | None = None
    cursor: str | None = None
    source: str | None = None

    @property
    def from_server(self) -> bool:
        """Whether the server wrote the event, as it does with the answers to waits, or copied it from an earlier run."""
        return self.source in ("server", "retry", None)

    @property
    def terminal(self) -> bool:
        """Whether this event ended the run."""
        return self.event_type in TERMINAL_EVENTS


class ConversationEvent(Event, frozen=True, kw_only=True):
    """An event of a conversation's list. On the wire its payload is named `event`."""

    payload: dict[str, Any] = msgspec.field(name="event")


class EventPage(Page[Event], frozen=True, kw_only=True):
    """One page of a run's events."""


class ConversationEventPage(Page[ConversationEvent], frozen=True, kw_only=True):
    """One page of a run's events under its conversation."""


class EventTypeCount(ResponseModel, frozen=True, kw_only=True):
    """The number of events of one type."""

    event_type: str
    count: int
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None


class EventSummary(ResponseModel, frozen=True, kw_only=True):
    """Counts of a log's public events. `types` begins with the most frequent type."""

    run_id: str
    total: int
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None
    types: list[EventTypeCount]


class EventMember(ResponseModel, frozen=True, kw_only=True):
    """A member of an event type."""

    name: str
    type: str
    required: bool


class EventType(ResponseModel, frozen=True, kw_only=True):
    """A documented event type. `event_class` is fact or delta. Types that are not `appendable` are written by the
    completion of a run.
    """

    type: str
    event_class: str = msgspec.field(name="class")
    appendable: bool
    members: list[EventMember]


class EventTypeList(ResponseModel, frozen=True, kw_only=True):
    """All documented event types."""

    data: list[EventType]


class Appended(ResponseModel, frozen=True, kw_only=True):
    """The answer to an append. `latest_external_event_sequence` is None where all appended events are private."""

    run: Run
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | None = None


class ConversationAppended(ResponseModel, frozen=True, kw_only=True):
    """The answer to events that were appended under a conversation. `appended_count` is 0 where they were stored before."""

    run: Projection
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | None = None


class SnapshotEvent(ResponseModel, frozen=True, kw_only=True):
    """An event of a snapshot. `event_id` is None where it was made for the snapshot and is not in the log."""

    event_id: int | None
    event: dict[str, Any]


class Snapshot(ResponseModel, frozen=True, kw_only=True):
    """The state of a run after an event: its messages, its state, and its terminal event if the run has ended."""

    after_event_id: int
    events: list[SnapshotEvent]


class Published(ResponseModel, frozen=True, kw_only=True):
    """An event of the project's bus, and how many runs it has resumed and started so far.

    `pending`: other runs follow. `duplicate`: it was published before.
    """

    event_id: str
    resumed: int = 0
    started: int = 0
    duplicate: bool = False
    pending: bool = False
