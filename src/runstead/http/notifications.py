"""What happens in a project as server-sent events: hints, over one connection."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import locate
from runstead.commands.notifications import Batch, Notifications, Told
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.identity.principal import Scope, refuse_bound
from runstead.http.framework.endpoint import Call, Nothing, Routes
from runstead.http.framework.sse import EventStream
from runstead.http.run_view import Timestamp

routes = Routes("Notifications")


class NotificationsFrom(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go on: the header `Last-Event-ID` says the same, and wins."""

    after: Annotated[str, Meta(description="The id of the last frame that the caller has.")] | None = None


class Notification(msgspec.Struct, frozen=True):
    """The `data` of a frame. `resync` has nothing but its time: read the lists again."""

    type: str
    run_id: str | None
    conversation_id: str | None
    status: str | None
    at: Timestamp


_encode = msgspec.json.Encoder().encode


def frame(told: Told) -> bytes:
    hint = told.hint
    data = _encode(Notification(hint.type, hint.run_id, hint.conversation_id, hint.status, iso(hint.at)))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (told.cursor.encode(), hint.type.encode(), data)


def _sign_of_life(batch: Batch) -> bytes:
    """A comment; a frame that has an id and no data moves the cursor and is no event (WHATWG HTML, 9.2.6)."""
    return b": following\n" + (b"" if batch.cursor is None else b"id: %b\n" % batch.cursor.encode()) + b"\n"


async def _frames(
    notifications: Notifications, project_id: str, cursor: str | None
) -> AsyncGenerator[bytes | None, None]:
    async with aclosing(notifications.follow(project_id, cursor)) as batches:
        async for batch in batches:
            yield b"".join(map(frame, batch.told)) if batch.told else _sign_of_life(batch)


@routes.route(
    "GET",
    "/projects/{project}/notifications",
    query=NotificationsFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND",),
)
async def notifications(call: Call[Nothing, NotificationsFrom]) -> EventStream:
    """Follow what happens in a project: hints that runs and conversations changed, from now on or after a cursor.

    A cursor that is unknown or too old gets one `resync` first: read the lists again.
    """
    refuse_bound(call.principal, "follows no project")
    project = await locate.project(call.app, call.principal, Scope.RUNS_READ, call.path["project"])
    cursor = (call.header(b"last-event-id") or "").strip() or call.query.after or None
    if cursor is not None:
        cursor = cursor[: limits.change_cursor_chars_max]  # a longer one is nobody's, and stays so
    return EventStream(_frames(call.app.notifications, project.id, cursor))
