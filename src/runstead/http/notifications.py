"""A project's change notifications as server-sent events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import projects
from runstead.commands.notifications import ChangePage, Notifications, NumberedChange
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.runs.run import RunStatus
from runstead.http.arguments import scoped
from runstead.http.framework.endpoint import Call, Nothing, Routes
from runstead.http.framework.sse import EventStream
from runstead.http.framework.views import Timestamp

routes = Routes("Notifications")


class NotificationsFrom(msgspec.Struct, frozen=True, kw_only=True):
    """What to follow, and where to continue. The header `Last-Event-ID` takes precedence."""

    after: Annotated[str, Meta(description="The id of the last frame that the caller received.")] | None = (
        None
    )
    status: (
        Annotated[RunStatus, Meta(description="Only the changes that leave a run in this status.")] | None
    ) = None


class Notification(msgspec.Struct, frozen=True):
    """The `data` of a frame. A `resync` has only a time: read the lists again."""

    type: str
    run_id: str | None
    conversation_id: str | None
    status: str | None
    at: Timestamp


_encode = msgspec.json.Encoder().encode


def frame(numbered: NumberedChange) -> bytes:
    change = numbered.change
    data = _encode(
        Notification(
            type=change.type,
            run_id=change.run_id,
            conversation_id=change.conversation_id,
            status=change.status,
            at=iso(change.at),
        )
    )
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (numbered.cursor.encode(), change.type.encode(), data)


def _heartbeat(page: ChangePage) -> bytes:
    """A comment, and the cursor. A frame with an id but no data dispatches no event (WHATWG HTML, 9.2.6)."""
    return b": following\n" + (b"" if page.cursor is None else b"id: %b\n" % page.cursor.encode()) + b"\n"


async def _frames(
    notifications: Notifications, project_id: str, cursor: str | None, status: RunStatus | None
) -> AsyncGenerator[bytes | None, None]:
    async with aclosing(notifications.follow(project_id, cursor, status)) as pages:
        async for page in pages:
            yield b"".join(map(frame, page.changes)) if page.changes else _heartbeat(page)


@routes.route(
    "GET",
    "/projects/{project}/notifications",
    query=NotificationsFrom,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND", "STREAM_LIMIT_REACHED"),
)
async def notifications(call: Call[Nothing, NotificationsFrom]) -> EventStream:
    """Stream a project's change notifications of runs and conversations, from now on or after a cursor.

    With `status`, only the changes that leave a run in that status. A cursor that is unknown or too old first gets one `resync`: read the lists again.
    """
    project = await projects.get_to_follow(*scoped(call))
    cursor = (call.header(b"last-event-id") or "").strip() or call.query.after or None
    if cursor is not None:
        cursor = cursor[: limits.change_cursor_chars_max]  # a longer cursor is unknown, and stays unknown
    slot = call.app.open_streams.slot(call.principal, project.id)
    return EventStream(_frames(call.app.notifications, project.id, cursor, call.query.status), slot=slot)
