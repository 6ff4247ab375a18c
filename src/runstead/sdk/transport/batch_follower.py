"""Follows the progress of a batch across broken connections, without I/O."""

from collections.abc import Iterator

import msgspec

from runstead.sdk.errors import UnexpectedAnswerError
from runstead.sdk.models.batch import BatchProgress
from runstead.sdk.routes.call import Call, event_stream, path
from runstead.sdk.transport.sse import Frame, Parser
from runstead.sdk.transport.stream_follower import StreamFollower


class BatchFollower(StreamFollower[BatchProgress]):
    """One follower of a batch. `done` is set with the progress that has `completed_at`."""

    def __init__(self, project: str, batch_id: str) -> None:
        super().__init__()
        self._path = path("projects", project, "batches", batch_id, "stream")
        self._last: str | None = None

    def call(self) -> Call[None]:
        self._parser = Parser()
        return event_stream(self._path, after=self._last)

    def feed(self, chunk: bytes) -> Iterator[BatchProgress]:
        self._backoff.reset()
        for frame in self._parser.feed(chunk):
            progress = self._progress(frame)
            self._last = frame.id
            self.done = progress.completed_at is not None
            yield progress
            if self.done:
                return

    def _progress(self, frame: Frame) -> BatchProgress:
        try:
            return msgspec.json.decode(frame.data, type=BatchProgress)
        except msgspec.DecodeError as error:
            reason = str(error)
        raise UnexpectedAnswerError(f"The progress of the batch was not understood: {reason}", 200)
