"""Read the events of a run or a family: pages, single events, counts and known types."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.commands import events as commands, runs
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.clock import iso, iso_or_none
from runstead.core.errors import invalid_at
from runstead.core.identity.principal import for_reading
from runstead.core.runs.event import Event, Source
from runstead.core.runs.event_types import EVENT_TYPES, EventType
from runstead.http.answers import answer_of, page_of
from runstead.http.bounds import between
from runstead.http.events import conversation_run_ref
from runstead.http.family_cursor import from_cursor, to_cursor
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import LOOKUP
from runstead.http.framework.values import Count, Name, PageInfo
from runstead.http.framework.views import JsonObject, Timestamp
from runstead.http.runs import MISSING, InProject, run_ref

routes = Routes("Events")

Unset = msgspec.UnsetType


class EventView(msgspec.Struct, frozen=True):
    """An event. `source` is who wrote it. `run_id` and `cursor` are set with `include_descendants`."""

    event_id: int
    event_type: str
    payload: JsonObject
    created_at: Timestamp
    source: Source
    run_id: str | Unset = msgspec.UNSET
    cursor: str | Unset = msgspec.UNSET


class ConversationEventView(msgspec.Struct, frozen=True):
    """An event. `source` is who wrote it. `run_id` and `cursor` are set with `include_descendants`."""

    event_id: int
    event_type: str
    event: JsonObject
    source: Source
    run_id: str | Unset = msgspec.UNSET
    cursor: str | Unset = msgspec.UNSET


ConversationEventPage = page_of("ConversationEventPage", ConversationEventView)
EventPage = page_of("EventPage", EventView)


View = Callable[..., Any]
"""(event, run_id, cursor) → one of the two views. `run_id` and `cursor` are passed for events of a family."""


def event_view(
    event: Event, run_id: str | Unset = msgspec.UNSET, cursor: str | Unset = msgspec.UNSET
) -> EventView:
    at = iso(event.created_at)
    return EventView(
        event_id=event.event_id,
        event_type=event.type,
        payload=msgspec.Raw(event.payload),
        created_at=at,
        source=event.source,
        run_id=run_id,
        cursor=cursor,
    )


def conversation_event_view(
    event: Event, run_id: str | Unset = msgspec.UNSET, cursor: str | Unset = msgspec.UNSET
) -> ConversationEventView:
    return ConversationEventView(
        event_id=event.event_id,
        event_type=event.type,
        event=msgspec.Raw(event.payload),
        source=event.source,
        run_id=run_id,
        cursor=cursor,
    )


class WhichEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Events after `after_event_id`. `event_type` may be repeated.

    With `include_descendants`, events of all descendants are included, in the order in which they were
    stored; then `cursor` is the position to continue from.
    """

    after_event_id: Count = 0
    event_type: Annotated[list[str], Meta(max_length=limits.event_types_filtered_max)] = []
    include_descendants: bool = False
    cursor: Annotated[str, Meta(max_length=limits.name_chars_max)] | None = None

    def check(self) -> None:
        if self.include_descendants and self.after_event_id:
            raise invalid_at(
                "$.after_event_id",
                "not with include_descendants",
                "Query: after_event_id is a position in the log of one run: with include_descendants, use cursor",
            )
        if self.cursor is not None and not self.include_descendants:
            raise invalid_at(
                "$.cursor",
                "not without include_descendants",
                "Query: cursor needs include_descendants: for the events of one run, use after_event_id",
            )


class EventRange(WhichEvents, frozen=True, kw_only=True):
    limit: Annotated[int, between(1, limits.event_rows_max)] = limits.event_rows_default


class EventRangeInProject(EventRange, frozen=True, kw_only=True):
    project: Name | None = None


async def _page(call: Call[Nothing, Any], ref: RunRef, view: View) -> tuple[Sequence[Any], PageInfo]:
    query: EventRange = call.query
    query.check()
    if query.include_descendants:
        run = await runs.get(call.app, for_reading(call.principal), ref)
        after = from_cursor(run, query.cursor, "Query: cursor")
        page = await commands.family_page(
            call.app, for_reading(call.principal), run, after, query.limit, query.event_type
        )
        found = [view(event.event, event.run_id, to_cursor(run, event.position)) for event in page.events]
        following = to_cursor(run, page.reached) if page.more else None
        return found, PageInfo(self=query.cursor, next=following)
    _, events, more = await commands.page(
        call.app, for_reading(call.principal), ref, query.after_event_id, query.limit, query.event_type
    )
    info = PageInfo(self=str(query.after_event_id), next=str(events[-1].event_id) if more else None)
    return [view(event) for event in events], info


@routes.route("GET", "/runs/{run_id}/events", query=EventRangeInProject, answer=EventPage, errors=MISSING)
async def page(call: Call[Nothing, EventRangeInProject]) -> Reply:
    """List the events of a run or its family, in order."""
    data, info = await _page(call, run_ref(call), event_view)
    return Reply(200, {"data": data, "page_info": info})


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/events",
    query=EventRange,
    answer=ConversationEventPage,
    errors=LOOKUP,
)
async def page_in_conversation(call: Call[Nothing, EventRange]) -> Reply:
    """List the events of an agent run or its family, in order."""
    data, info = await _page(call, conversation_run_ref(call), conversation_event_view)
    return Reply(200, {"data": data, "page_info": info})


class EventTypeCount(msgspec.Struct, frozen=True):
    event_type: str
    count: int
    first_event_at: Timestamp
    last_event_at: Timestamp


class EventSummary(msgspec.Struct, frozen=True):
    """`total` counts all public events. `types` lists the most frequent types, at most 1,000."""

    run_id: str
    total: int
    first_event_at: Timestamp | None
    last_event_at: Timestamp | None
    types: list[EventTypeCount]


@routes.route("GET", "/runs/{run_id}/events/summary", query=InProject, answer=EventSummary, errors=MISSING)
async def summary(call: Call[Nothing, InProject]) -> Reply:
    """Count the events of each type in a run's log, with their first and last time."""
    run, counts = await commands.summary(call.app, for_reading(call.principal), run_ref(call))
    found = EventSummary(
        run.run_id,
        sum(count.count for count in counts),
        iso_or_none(min((count.first_at for count in counts), default=None)),
        iso_or_none(max((count.last_at for count in counts), default=None)),
        [
            EventTypeCount(count.type, count.count, iso(count.first_at), iso(count.last_at))
            for count in counts[: limits.event_types_counted_max]
        ],
    )
    return Reply(200, found)


@routes.route("GET", "/runs/{run_id}/events/{event_id}", query=InProject, answer=EventView, errors=MISSING)
async def one(call: Call[Nothing, InProject]) -> Reply:
    """Get an event of a run by its number."""
    text = call.path["event_id"]
    # A malformed number becomes 0, which no event has: the run is authorized before the answer is NOT_FOUND.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 8 else 0
    return Reply(
        200, event_view(await commands.one(call.app, for_reading(call.principal), run_ref(call), number))
    )


EventTypeList = answer_of("EventTypeList", data=list[EventType])


_TYPES = EventTypeList(list(EVENT_TYPES))


@routes.route("GET", "/runs/event-types", answer=EventTypeList)
async def event_types(call: Call[Nothing, Nothing]) -> Reply:
    """List the known event types with their members. Other types may be appended too."""
    return Reply(200, _TYPES)
