"""Follows the channel of a worker across broken connections, without I/O."""

from collections.abc import Iterator, Sequence

import msgspec

from runstead.sdk.models.lease import WorkerHint
from runstead.sdk.routes.call import Call, event_stream, path, query
from runstead.sdk.transport.stream_follower import StreamFollower, decoded


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
