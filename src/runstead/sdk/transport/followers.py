"""Follow a batch, the channel of a worker and the notifications of a project across broken connections, without I/O."""

from collections.abc import Iterator, Sequence

import msgspec

from runstead.sdk.models.batch import BatchProgress
from runstead.sdk.models.lease import WorkerHint
from runstead.sdk.models.notification import Notification
from runstead.sdk.routes.call import Call, event_stream, path, query
from runstead.sdk.transport.stream_follower import StreamFollower, decoded


class BatchFollower(StreamFollower[BatchProgress]):
    """One follower of a batch. `done` is set with the progress that has `completed_at`."""

    def __init__(self, project: str, batch_id: str) -> None:
        super().__init__()
        self._path = path("projects", project, "batches", batch_id, "stream")
        self._last: str | None = None

    def call(self) -> Call[None]:
        return event_stream(self._path, after=self._last)

    def feed(self, chunk: bytes) -> Iterator[BatchProgress]:
        for frame in self._frames(chunk):
            progress = decoded(frame, BatchProgress, "The progress of the batch was")
            self._last = frame.id
            self.done = progress.completed_at is not None
            yield progress
            if self.done:
                return


class ChannelFollower(StreamFollower[WorkerHint]):
    """One follower of a worker's channel. Each connection begins with a `resync`, as hints are not kept."""

    def __init__(self, worker_id: str, events: Sequence[str] | None) -> None:
        super().__init__()
        self._worker_id = worker_id
        self._events = events
        self._is_new = True

    def call(self) -> Call[None]:
        self._is_new = True
        where = path("agent-workers", "workers", self._worker_id, "channel")
        return event_stream(where, query(event=self._events))

    def feed(self, chunk: bytes) -> Iterator[WorkerHint]:
        frames = self._frames(chunk)
        if self._is_new:
            self._is_new = False
            yield WorkerHint(type="resync")
        for frame in frames:
            hint = decoded(frame, _Members, "The channel was")
            yield WorkerHint(type=frame.event, run_id=hint.run_id, attempt=hint.attempt, targets=hint.targets)


class _Members(msgspec.Struct):
    run_id: str | None = None
    attempt: int | None = None
    targets: list[str] = []


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
