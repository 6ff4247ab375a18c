"""Runs as server-sent events (WHATWG HTML, "Server-sent events")."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse

from runstead import limits, telemetry
from runstead.commands import runs
from runstead.commands.runs import Named
from runstead.errors import Error
from runstead.event import Event, FamilyEvent, pascal
from runstead.http.bodies import Name
from runstead.http.endpoint import Call, Nothing, Routes
from runstead.http.event_pages import View, WhichEvents, conversation_event_view, event_view
from runstead.http.events import named_in_conversation
from runstead.http.family_cursor import from_cursor, to_cursor
from runstead.http.runs import MISSING, named
from runstead.principal import refuse_bound
from runstead.run import Run

routes = Routes("Events")

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
T = TypeVar("T")


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


def family_frame(run: Run, one: FamilyEvent, view: View) -> bytes:
    """`id` is the family's cursor, `data` the item as the list with include_descendants shows it."""
    cursor = to_cursor(run, one.position)
    data = msgspec.json.encode(view(one.event, one.run_id, cursor))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), pascal(one.event.type).encode(), data)


async def _frames(
    batches: AsyncIterator[Sequence[T] | None], to_frame: Callable[[T], bytes]
) -> AsyncIterator[bytes]:
    with telemetry.streams.track_inprogress():
        # The first bytes come at once, so that a proxy or a client sees an open stream before the first event.
        yield b": stream of run events\n\n"
        async for events in batches:
            yield b": heartbeat\n\n" if events is None else b"".join(map(to_frame, events))


async def _stream(call: Call[Nothing, Any], name: Named, view: View) -> StreamingResponse:
    query: StreamFrom = call.query
    query.check()
    run = await runs.get(call.app, call.principal, name)
    if query.include_descendants:
        refuse_bound(call.principal, "reads no others")
        header = call.header(b"last-event-id")
        if header is not None and header.strip():
            after = from_cursor(run, header, "Last-Event-ID")
        else:
            after = from_cursor(run, query.cursor, "Query: cursor")
        family = call.app.following.follow_family(run, after, query.event_type)
        frames = _frames(family, lambda one: family_frame(run, one, view))
    else:
        frames = _frames(call.app.following.follow(run, _after(call), query.event_type), frame)
    return StreamingResponse(frames, 200, HEADERS, "text/event-stream")


@routes.route(
    "GET",
    "/runs/{run_id}/stream",
    query=StreamFromInProject,
    answer=None,
    media_type="text/event-stream",
    errors=MISSING,
)
async def stream(call: Call[Nothing, StreamFromInProject]) -> StreamingResponse:
    """Replay a run's events after `Last-Event-ID`, then follow live until the terminal one; or its family's."""
    return await _stream(call, named(call), event_view)


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/stream",
    query=StreamFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND",),
)
async def stream_in_conversation(call: Call[Nothing, StreamFrom]) -> StreamingResponse:
    """Replay an agent run's events after `Last-Event-ID`, then follow live until the terminal one; or its family's."""
    return await _stream(call, named_in_conversation(call), conversation_event_view)
