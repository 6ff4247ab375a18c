"""Streams of events as server-sent events (WHATWG HTML, "Server-sent events")."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from runstead.commands import runs
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import for_reading
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
    """Where the stream begins, and its event types.

    The header `Last-Event-ID` takes precedence over `after_event_id` and `cursor`.
    """


class StreamFromInProject(StreamFrom, frozen=True, kw_only=True):
    project: Annotated[Name | None, Meta(description="id or slug")] = None


def frame(event: Event) -> bytes:
    """Encode an event: `id`, `event` (the type in PascalCase), `data` (the event on one line) and `source`.

    `data` is the client's object, so the source is a field of the frame. Parsers ignore fields that they do not know.
    """
    return b"id: %d\nevent: %b\nsource: %b\ndata: %b\n\n" % (
        event.event_id,
        pascal(event.type).encode(),
        event.source.encode(),
        event.payload,
    )


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
    """Encodes an event of a family: `id` is the family's cursor, `data` the item of the list with
    include_descendants.

    Followers of one family with the same view have equal encoders, and so share the encoded frames.
    """

    mark: str
    view: View

    def __call__(self, event: FamilyEvent) -> bytes:
        cursor = cursor_at(self.mark, event.position)
        data = msgspec.json.encode(self.view(event.event, event.run_id, cursor))
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), pascal(event.type).encode(), data)


_OPENING: Final = b": stream of run events\n\n"


async def _stream(call: Call[Nothing, Any], ref: RunRef, view: View) -> EventStream:
    query: StreamFrom = call.query
    query.check()
    followers = call.app.followers
    if not query.include_descendants:
        run = await runs.get(call.app, for_reading(call.principal), ref)
        slot = call.app.open_streams.slot(call.principal, run.project_id)
        frames = followers.follow(run, _after(call), frame, query.event_type)
        return EventStream(frames, _OPENING, slot)
    run = await runs.get_with_descendants(call.app, for_reading(call.principal), ref)
    header = call.header(b"last-event-id")
    if header is not None and header.strip():
        after = from_cursor(run, header, "Last-Event-ID")
    else:
        after = from_cursor(run, query.cursor, "Query: cursor")
    to_frame = FamilyFrame(mark_of(run), view)
    slot = call.app.open_streams.slot(call.principal, run.project_id)
    return EventStream(followers.follow_family(run, after, to_frame, query.event_type), _OPENING, slot)


@routes.route(
    "GET",
    "/runs/{run_id}/stream",
    query=StreamFromInProject,
    answer=None,
    media_type="text/event-stream",
    errors=(*MISSING, "STREAM_LIMIT_REACHED"),
)
async def stream(call: Call[Nothing, StreamFromInProject]) -> EventStream:
    """Stream the events of a run or its family, then follow it until the terminal event."""
    return await _stream(call, run_ref(call), event_view)


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/stream",
    query=StreamFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND", "STREAM_LIMIT_REACHED"),
)
async def stream_in_conversation(call: Call[Nothing, StreamFrom]) -> EventStream:
    """Stream the events of an agent run or its family, then follow it until the terminal event."""
    return await _stream(call, conversation_run_ref(call), conversation_event_view)
