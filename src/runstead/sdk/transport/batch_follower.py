"""Follows the progress of a batch across broken connections, without I/O."""

from collections.abc import Iterator

from runstead.sdk.models.batch import BatchProgress
from runstead.sdk.routes.call import Call, event_stream, path
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
