"""Reading a run's log, and its family's: pages, one event, counts, the types there are."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.commands import events as commands, runs
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.clock import iso, iso_or_none
from runstead.core.errors import Error
from runstead.core.runs.event import Event
from runstead.core.runs.event_types import EVENT_TYPES, EventType
from runstead.http.events import conversation_run_ref
from runstead.http.family_cursor import from_cursor, to_cursor
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Count, Name, PageInfo
from runstead.http.run_view import JsonObject, Timestamp
from runstead.http.runs import MISSING, InProject, run_ref

routes = Routes("Events")

Unset = msgspec.UnsetType


class EventView(msgspec.Struct, frozen=True):
    """`run_id` and `cursor` are there with include_descendants."""

    event_id: int
    event_type: str
    payload: JsonObject
    created_at: Timestamp
    run_id: str | Unset = msgspec.UNSET
    cursor: str | Unset = msgspec.UNSET


class EventPage(msgspec.Struct, frozen=True):
    data: list[EventView]
    page_info: PageInfo


class ConversationEventView(msgspec.Struct, frozen=True):
    """`run_id` and `cursor` are there with include_descendants."""

    event_id: int
    event_type: str
    event: JsonObject
    run_id: str | Unset = msgspec.UNSET
    cursor: str | Unset = msgspec.UNSET


class ConversationEventPage(msgspec.Struct, frozen=True):
    data: list[ConversationEventView]
    page_info: PageInfo


View = Callable[..., Any]
"""(event, run_id, cursor) → one of the two views; the last two only for an event of a family."""


def event_view(
    event: Event, run_id: str | Unset = msgspec.UNSET, cursor: str | Unset = msgspec.UNSET
) -> EventView:
    at = iso(event.created_at)
    return EventView(event.event_id, event.type, msgspec.Raw(event.payload), at, run_id, cursor)


def conversation_event_view(
    event: Event, run_id: str | Unset = msgspec.UNSET, cursor: str | Unset = msgspec.UNSET
) -> ConversationEventView:
    return ConversationEventView(event.event_id, event.type, msgspec.Raw(event.payload), run_id, cursor)


class WhichEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a number; `event_type` may repeat. With include_descendants also those of all runs below, in the
    order in which they were stored, and `cursor` says where to go on.
    """

    after_event_id: Count = 0
    event_type: Annotated[list[str], Meta(max_length=limits.event_types_filtered_max)] = []
    include_descendants: bool = False
    cursor: Annotated[str, Meta(max_length=limits.name_chars_max)] | None = None

    def check(self) -> None:
        if self.include_descendants and self.after_event_id:
            raise Error(
                "INVALID_REQUEST",
                "Query: after_event_id is a place in the log of one run; with include_descendants, cursor takes its place",
                errors=(("$.after_event_id", "not with include_descendants"),),
            )
        if self.cursor is not None and not self.include_descendants:
            raise Error(
                "INVALID_REQUEST",
                "Query: cursor belongs to include_descendants; the events of one run go on by after_event_id",
                errors=(("$.cursor", "not without include_descendants"),),
            )


class EventRange(WhichEvents, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=limits.event_rows_max)] = limits.event_rows_default


class EventRangeInProject(EventRange, frozen=True, kw_only=True):
    project: Name | None = None


async def _page(call: Call[Nothing, Any], name: RunRef, view: View) -> tuple[Sequence[Any], PageInfo]:
    query: EventRange = call.query
    query.check()
    if query.include_descendants:
        run = await runs.get(call.app, call.principal, name)
        after = from_cursor(run, query.cursor, "Query: cursor")
        page = await commands.family_page(call.app, call.principal, run, after, query.limit, query.event_type)
        found = [view(one.event, one.run_id, to_cursor(run, one.position)) for one in page.events]
        following = to_cursor(run, page.reached) if page.more else None
        return found, PageInfo(self=query.cursor, next=following)
    _, events, more = await commands.page(
        call.app, call.principal, name, query.after_event_id, query.limit, query.event_type
    )
    info = PageInfo(self=str(query.after_event_id), next=str(events[-1].event_id) if more else None)
    return [view(event) for event in events], info


@routes.route("GET", "/runs/{run_id}/events", query=EventRangeInProject, answer=EventPage, errors=MISSING)
async def page(call: Call[Nothing, EventRangeInProject]) -> Reply:
    """A run's events after a number, in order; or its family's."""
    data, info = await _page(call, run_ref(call), event_view)
    return Reply(200, {"data": data, "page_info": info})


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/events",
    query=EventRange,
    answer=ConversationEventPage,
    errors=("NOT_FOUND",),
)
async def page_in_conversation(call: Call[Nothing, EventRange]) -> Reply:
    """An agent run's events after a number, in order; or its family's."""
    data, info = await _page(call, conversation_run_ref(call), conversation_event_view)
    return Reply(200, {"data": data, "page_info": info})


class EventTypeCount(msgspec.Struct, frozen=True):
    event_type: str
    count: int
    first_event_at: Timestamp
    last_event_at: Timestamp


class EventSummary(msgspec.Struct, frozen=True):
    """`total` counts all public events, `types` the most frequent types (1,000 at most)."""

    run_id: str
    total: int
    first_event_at: Timestamp | None
    last_event_at: Timestamp | None
    types: list[EventTypeCount]


@routes.route("GET", "/runs/{run_id}/events/summary", query=InProject, answer=EventSummary, errors=MISSING)
async def summary(call: Call[Nothing, InProject]) -> Reply:
    """How many events of each type a run's log holds, and from when to when."""
    run, counts = await commands.summary(call.app, call.principal, run_ref(call))
    told = EventSummary(
        run.run_id,
        sum(one.count for one in counts),
        iso_or_none(min((one.first_at for one in counts), default=None)),
        iso_or_none(max((one.last_at for one in counts), default=None)),
        [
            EventTypeCount(one.type, one.count, iso(one.first_at), iso(one.last_at))
            for one in counts[: limits.event_types_counted_max]
        ],
    )
    return Reply(200, told)


@routes.route("GET", "/runs/{run_id}/events/{event_id}", query=InProject, answer=EventView, errors=MISSING)
async def one(call: Call[Nothing, InProject]) -> Reply:
    """One event of a run, by its number."""
    told = call.path["event_id"]
    # What is no number is no event's: that is found out after whether the caller may see the run.
    number = int(told) if told.isascii() and told.isdigit() and len(told) <= 8 else 0
    return Reply(200, event_view(await commands.one(call.app, call.principal, run_ref(call), number)))


class EventTypeList(msgspec.Struct, frozen=True):
    data: list[EventType]


_TYPES = EventTypeList(list(EVENT_TYPES))


@routes.route("GET", "/runs/event-types", answer=EventTypeList)
async def event_types(call: Call[Nothing, Nothing]) -> Reply:
    """The event types that clients know, with their members. Any other type may be appended too."""
    return Reply(200, _TYPES)
