"""Follows the notifications of a project across broken connections, without I/O."""

from collections.abc import Iterator

import msgspec

from runstead.sdk.models.notification import Notification
from runstead.sdk.routes.call import Call, event_stream, path, query
from runstead.sdk.transport.stream_follower import StreamFollower, decoded


class NotificationFollower(StreamFollower[Notification]):
    """One follower's position in a project's notifications. `last` is the cursor of the last one."""

    def __init__(self, project: str, after: str | None, status: str | None = None) -> None:
        super().__init__()
        self._project = project
        self._status = status
        self.last = after
        self._connected_before = False

    def call(self) -> Call[None]:
        # A connection that broke before its first cursor may have missed something too. The server does not know
        # the cursor "none", and sends a resync.
        after = self.last or ("none" if self._connected_before else None)
        self._connected_before = True
        where = path("projects", self._project, "notifications")
        return event_stream(where, query(status=self._status), after=after)

    def feed(self, chunk: bytes) -> Iterator[Notification]:
        for frame in self._frames(chunk):
            self.last = frame.id
            notification = decoded(frame, Notification, "The notifications were")
            yield msgspec.structs.replace(notification, cursor=frame.id)
        # A frame without data only moves the cursor, so that a follower of a quiet project has a recent one.
        self.last = self._parser.last_id or self.last
