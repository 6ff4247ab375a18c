"""RunFollower a run's stream across broken connections, without I/O: nothing lost, nothing repeated."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from runstead.sdk.errors import RunsteadError, UnexpectedAnswerError
from runstead.sdk.models.event import TERMINAL_EVENTS, Event, EventPage
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.log import EventLog, RunState
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.sse import Frame, Parser
from runstead.sdk.transport.stream_follower import StreamFollower


class RunFollower(StreamFollower[Event]):
    """One follower's place in a run's log.

    Per connection: `call()`, `opened()` once the head of the answer is there, `feed()` for every chunk. When the
    connection ends, `broke()` answers the seconds to wait before the next one, and `idle` says whether it brought
    nothing new: then the run may be over already, which `over()` finds out. `done` is set with the terminal event.
    """

    def __init__(
        self,
        log: EventLog,
        after: int | str,
        types: Iterable[str],
        retries: Retries,
        project: str | None = None,
    ) -> None:
        """`project` is the client's, for a run id that is not unique among the caller's projects."""
        super().__init__(retries)
        self.log = log
        self.last = after  # an event id, or a family's cursor
        self._seen: dict[str | None, int] = {} if log.family else {None: int(after)}
        self.idle = True
        self._wanted = frozenset(types)
        # The end must be seen even where it was not asked for; it is then kept back.
        # A family has no such event: its stream ends by itself.
        end = frozenset() if log.family else TERMINAL_EVENTS
        self._asked = sorted(self._wanted | end) if self._wanted else []
        self._retries = retries
        self._project = project
        self._naming: str | None = None

    def call(self) -> Call[None]:
        self._parser = Parser()
        self.idle = True
        call = self.log.stream(self.last, self._asked)
        return call if self._naming is None else call.with_project(self._naming)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        self._failures = 0
        for frame in self._parser.feed(chunk):
            event = self._event(frame)
            # A server that ignores Last-Event-ID, or a proxy that replays, sends what was seen already.
            if event.event_id <= self._seen.get(event.run_id, 0):
                continue
            self._seen[event.run_id] = event.event_id
            self.last = frame.id if self.log.family else event.event_id
            self.idle = False
            self.done = event.terminal and not self.log.family
            if not self._wanted or event.event_type in self._wanted:
                yield event
            if self.done:
                return

    def broke(self, error: RunsteadError | None = None) -> float:
        """The connection ended before the run did. Raises where it cannot get better or has not for too long."""
        if error is not None and error.code == "RUN_ID_AMBIGUOUS" and self._naming is None and self._project:
            self._naming = self._project
            return 0.0
        return super().broke(error)

    def ended(self, state: RunState) -> bool:
        """Whether the run, and where they are followed all below it, had ended."""
        return state.terminal and not (self.log.family and state.descendants.active > 0)

    def over(self, rest: EventPage) -> bool:
        """Whether nothing can come any more, the run having `ended`.

        `rest` is the page after `last`, read after the state: the terminal event is stored with the state.
        """
        return not rest.data

    @property
    def may_be_over(self) -> bool:
        """Whether a connection that ended cleanly may have been the last one."""
        return self.idle or self.log.family

    def rest(self) -> Call[EventPage]:
        return self.log.page(self.last, self._asked, limit=1)

    def _event(self, frame: Frame) -> Event:
        try:
            if self.log.family:
                return self.log.event(frame.data)
            payload = msgspec.json.decode(frame.data, type=dict[str, Any])
            return Event(event_id=int(frame.id), event_type=str(payload["type"]), payload=payload)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            trouble = f"{type(error).__name__}: {error}"
        raise UnexpectedAnswerError(f"The stream of run {self.log.run_id} was not understood: {trouble}", 200)
