"""Runs as server-sent events (WHATWG HTML, "Server-sent events")."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from runstead.commands import runs
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import refuse_bound
from runstead.core.runs.event import Event, FamilyEvent, pascal
from runstead.http.event_pages import View, WhichEvents, conversation_event_view, event_view
from runstead.http.events import conversation_run_ref
from runstead.http.family_cursor import cursor_at, from_cursor, mark_of
from runstead.http.framework.endpoint import Call, Nothing, Routes
from runstead.http.framework.sse import EventStream
from runstead.http.framework.values import Name
from runstead.http.runs import MISSING, run_ref

routes = Routes("Events")


class StreamFrom(WhichEvents, frozen=True, kw_only=True):
    """Where to begin (the header `Last-Event-ID` says the same as `after_event_id` or `cursor`, and wins), and what to
    tell.
    """


class StreamFromInProject(StreamFrom, frozen=True, kw_only=True):
    project: Annotated[Name | None, Meta(description="id or slug")] = None


def frame(event: Event) -> bytes:
    """`id`, `event` (the type in PascalCase) and `data` (the event on one line)."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.event_id, pascal(event.type).encode(), event.payload)


def _after(call: Call[Nothing, Any]) -> int:
    header = call.header(b"last-event-id")
    if header is None or not header.strip():
        after: int = call.query.after_event_id
        return after
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= limits.integer_max):
        raise Error("INVALID_REQUEST", "Last-Event-ID must be the number of an event")
    return int(text)


class FamilyFrame(msgspec.Struct, frozen=True):
    """`id` is the family's cursor, `data` the item as the list with include_descendants shows it. Followers of one family
    with the same view have equal ones, and so share the frames.
    """

    mark: str
    view: View

    def __call__(self, one: FamilyEvent) -> bytes:
        cursor = cursor_at(self.mark, one.position)
        data = msgspec.json.encode(self.view(one.event, one.run_id, cursor))
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), pascal(one.type).encode(), data)


_OPENING: Final = b": stream of run events\n\n"


async def _stream(call: Call[Nothing, Any], name: RunRef, view: View) -> EventStream:
    query: StreamFrom = call.query
    query.check()
    run = await runs.get(call.app, call.principal, name)
    following = call.app.followers
    if not query.include_descendants:
        return EventStream(following.follow(run, _after(call), frame, query.event_type), _OPENING)
    refuse_bound(call.principal, "reads no others")
    header = call.header(b"last-event-id")
    if header is not None and header.strip():
        after = from_cursor(run, header, "Last-Event-ID")
    else:
        after = from_cursor(run, query.cursor, "Query: cursor")
    to_frame = FamilyFrame(mark_of(run), view)
    return EventStream(following.follow_family(run, after, to_frame, query.event_type), _OPENING)


@routes.route(
    "GET",
    "/runs/{run_id}/stream",
    query=StreamFromInProject,
    answer=None,
    media_type="text/event-stream",
    errors=MISSING,
)
async def stream(call: Call[Nothing, StreamFromInProject]) -> EventStream:
    """ReplayedResponse a run's events after `Last-Event-ID`, then follow live until the terminal one; or its family's."""
    return await _stream(call, run_ref(call), event_view)


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/stream",
    query=StreamFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND",),
)
async def stream_in_conversation(call: Call[Nothing, StreamFrom]) -> EventStream:
    """ReplayedResponse an agent run's events after `Last-Event-ID`, then follow live until the terminal one; or its family's."""
    return await _stream(call, conversation_run_ref(call), conversation_event_view)
