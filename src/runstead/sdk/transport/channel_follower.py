"""Follows the channel of a worker across broken connections, without I/O."""

from collections.abc import Iterator, Sequence

import msgspec

from runstead.sdk.errors import UnexpectedAnswerError
from runstead.sdk.models.lease import WorkerHint
from runstead.sdk.routes.call import Call, event_stream, path, query
from runstead.sdk.transport.sse import Parser
from runstead.sdk.transport.stream_follower import StreamFollower


class ChannelFollower(StreamFollower[WorkerHint]):
    """One follower of a worker's channel. Each connection begins with a `resync`, as hints are not kept."""

    def __init__(self, worker_id: str, events: Sequence[str] | None) -> None:
        super().__init__()
        self._worker_id = worker_id
        self._events = events
        self._is_new = True

    def call(self) -> Call[None]:
        self._parser = Parser()
        self._is_new = True
        where = path("agent-workers", "workers", self._worker_id, "channel")
        return event_stream(where, query(event=self._events))

    def feed(self, chunk: bytes) -> Iterator[WorkerHint]:
        self._backoff.reset()
        if self._is_new:
            self._is_new = False
            yield WorkerHint(type="resync")
        for frame in self._parser.feed(chunk):
            try:
                hint = msgspec.json.decode(frame.data, type=_Members)
            except msgspec.DecodeError as error:
                raise UnexpectedAnswerError(f"The channel was not understood: {error}", 200) from None
            yield WorkerHint(type=frame.event, run_id=hint.run_id, attempt=hint.attempt, targets=hint.targets)


class _Members(msgspec.Struct):
    run_id: str | None = None
    attempt: int | None = None
    targets: list[str] = []
