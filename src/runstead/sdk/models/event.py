"""Events of a run's log, by AG-UI type names. Ids start at 1 and grow with every stored event of the run."""

from datetime import datetime
from typing import Any, Final

import msgspec

from runstead.sdk.models.conversation import Projection
from runstead.sdk.models.response import PageInfo, ResponseModel
from runstead.sdk.models.run import Run

TERMINAL_EVENTS: Final = frozenset({"RUN_FINISHED", "RUN_ERROR"})


class Event(ResponseModel, frozen=True, kw_only=True):
    """One event. `payload` is the whole event object, its `type` included.

    `created_at` is None for events that came over a live stream or a conversation's list, which do not tell it.
    With include_descendants, `run_id` tells whose event it is, and `cursor` is where the family's log goes on after it.
    """

    event_id: int
    event_type: str
    payload: dict[str, Any]
    created_at: datetime | None = None
    run_id: str | None = None
    cursor: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether the run ended with it."""
        return self.event_type in TERMINAL_EVENTS


class ConversationEvent(Event, frozen=True, kw_only=True):
    """An event as a conversation's list carries it: the same members, under the wire name `event`."""

    payload: dict[str, Any] = msgspec.field(name="event")


class EventPage(ResponseModel, frozen=True, kw_only=True):
    data: list[Event]
    page_info: PageInfo


class ConversationEventPage(ResponseModel, frozen=True, kw_only=True):
    data: list[ConversationEvent]
    page_info: PageInfo


class EventTypeCount(ResponseModel, frozen=True, kw_only=True):
    event_type: str
    count: int
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None


class EventSummary(ResponseModel, frozen=True, kw_only=True):
    """`total` counts a log's public events, `types` the most frequent types first."""

    run_id: str
    total: int
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None
    types: list[EventTypeCount]


class EventMember(ResponseModel, frozen=True, kw_only=True):
    name: str
    type: str
    required: bool


class EventType(ResponseModel, frozen=True, kw_only=True):
    """A type that clients know. `event_class` is fact or delta; not `appendable` are those that completing writes."""

    type: str
    event_class: str = msgspec.field(name="class")
    appendable: bool
    members: list[EventMember]


class EventTypeList(ResponseModel, frozen=True, kw_only=True):
    data: list[EventType]


class Appended(ResponseModel, frozen=True, kw_only=True):
    """`latest_external_event_sequence` is None for a batch of private events, which do not advance it."""

    run: Run
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | None = None


class ConversationAppended(ResponseModel, frozen=True, kw_only=True):
    run: Projection
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | None = None


class SnapshotEvent(ResponseModel, frozen=True, kw_only=True):
    """`event_id` is None for the events made for the snapshot, which the log does not hold."""

    event_id: int | None
    event: dict[str, Any]


class Snapshot(ResponseModel, frozen=True, kw_only=True):
    """A run up to `after_event_id`, folded: its messages, its state, and its terminal event if it has ended."""

    after_event_id: int
    events: list[SnapshotEvent]
