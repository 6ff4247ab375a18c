"""Follows a run's stream across broken connections, without I/O. No event is lost or repeated."""

from collections.abc import Generator, Iterable, Iterator
from typing import Any

import msgspec

from runstead.sdk.errors import RunsteadError, UnexpectedAnswerError
from runstead.sdk.models.event import TERMINAL_EVENTS, Event, EventPage
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.log import EventLog, RunState
from runstead.sdk.transport.sse import Frame
from runstead.sdk.transport.stream_follower import StreamFollower


class RunFollower(StreamFollower[Event]):
    """One follower's position in a run's log, or in the log of a run and its descendants.

    `idle`: this connection brought no new event. Then the run may have ended before, and the client checks its state.
    `done` is set with the terminal event.
    """

    def __init__(
        self, log: EventLog, after: int | str, types: Iterable[str], project: str | None = None
    ) -> None:
        """`project` is the client's project, for a run id that several of the caller's projects have."""
        super().__init__()
        self.log = log
        self.last = after  # an event id, or a family's cursor
        self._last_ids: dict[str | None, int] = {} if log.family else {None: int(after)}
        self.idle = True
        self._types = frozenset(types)
        # Terminal events are requested even where the caller did not: they end the stream, and are not yielded.
        # A family has no terminal event: the server ends its stream.
        end = frozenset() if log.family else TERMINAL_EVENTS
        self._requested_types = sorted(self._types | end) if self._types else []
        self._project = project
        self._project_in_query: str | None = None

    def call(self) -> Call[None]:
        self.idle = True
        call = self.log.stream(self.last, self._requested_types)
        return call if self._project_in_query is None else call.with_project(self._project_in_query)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        for frame in self._frames(chunk):
            event = self._event(frame)
            # A server that ignores Last-Event-ID, or a proxy that replays, sends events again.
            if event.event_id <= self._last_ids.get(event.run_id, 0):
                continue
            self._last_ids[event.run_id] = event.event_id
            self.last = frame.id if self.log.family else event.event_id
            self.idle = False
            self.done = event.terminal and not self.log.family
            if not self._types or event.event_type in self._types:
                yield event
            if self.done:
                return

    def disconnected(self, error: RunsteadError | None = None) -> float:
        if (
            error is not None
            and error.code == "RUN_ID_AMBIGUOUS"
            and self._project_in_query is None
            and self._project
        ):
            self._project_in_query = self._project
            return 0.0
        return super().disconnected(error)

    def completion(self) -> Generator[Call[Any], Any, bool]:
        if not (self.idle or self.log.family):
            return False
        state: RunState = yield self.log.state()
        if not state.terminal or (self.log.family and state.descendants.active > 0):
            return False
        # The terminal event is stored with the state. If there is no event after `last`, all have been yielded.
        page: EventPage = yield self.log.page(self.last, self._requested_types, limit=1)
        return not page.data

    def _event(self, frame: Frame) -> Event:
        try:
            if self.log.family:
                return self.log.event(frame.data)
            payload = msgspec.json.decode(frame.data, type=dict[str, Any])
            return Event(
                event_id=int(frame.id),
                event_type=str(payload["type"]),
                payload=payload,
                source=frame.source,
            )
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise UnexpectedAnswerError(f"The stream of run {self.log.run_id} was not understood: {reason}", 200)
