"""Runs as server-sent events (WHATWG HTML, "Server-sent events")."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse

from runstead import limits, telemetry
from runstead.commands import runs
from runstead.commands.following import Following
from runstead.commands.runs import Named
from runstead.errors import Error
from runstead.event import Event, pascal
from runstead.http.bodies import Count, Name
from runstead.http.endpoint import Call, Nothing, Routes
from runstead.http.events import named_in_conversation
from runstead.http.runs import MISSING, named
from runstead.run import Run

routes = Routes("Events")

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class StreamFrom(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin: the header `Last-Event-ID` says the same, and wins."""

    after_event_id: Count = 0


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


async def _frames(following: Following, run: Run, after: int) -> AsyncIterator[bytes]:
    with telemetry.streams.track_inprogress():
        # The first bytes come at once, so that a proxy or a client sees an open stream before the first event.
        yield b": stream of run events\n\n"
        async for events in following.follow(run, after):
            yield b": heartbeat\n\n" if events is None else b"".join(map(frame, events))


async def _stream(call: Call[Nothing, Any], name: Named) -> StreamingResponse:
    run = await runs.get(call.app, call.principal, name)
    frames = _frames(call.app.following, run, _after(call))
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
    """Replay a run's events after `Last-Event-ID`, then follow live until the terminal one."""
    return await _stream(call, named(call))


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/stream",
    query=StreamFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND",),
)
async def stream_in_conversation(call: Call[Nothing, StreamFrom]) -> StreamingResponse:
    """Replay an agent run's events after `Last-Event-ID`, then follow live until the terminal one."""
    return await _stream(call, named_in_conversation(call))
