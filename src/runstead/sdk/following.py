"""Following a run's stream across broken connections, without I/O: nothing lost, nothing repeated."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from runstead.sdk.call import Call
from runstead.sdk.errors import RunsteadError, UnexpectedAnswerError
from runstead.sdk.event import TERMINAL_EVENTS, Event, EventPage
from runstead.sdk.log import Log, State
from runstead.sdk.retries import Retries
from runstead.sdk.sse import Frame, Parser
from runstead.sdk.streaming import Streaming


class Following(Streaming):
    """One follower's place in a run's log.

    Per connection: `call()`, `opened()` once the head of the answer is there, `feed()` for every chunk. When the
    connection ends, `broke()` answers the seconds to wait before the next one, and `idle` says whether it brought
    nothing new: then the run may be over already, which `over()` finds out. `done` is set with the terminal event.
    """

    def __init__(
        self,
        log: Log,
        after_event_id: int,
        types: Iterable[str],
        retries: Retries,
        project: str | None = None,
    ) -> None:
        """`project` is the client's, for a run id that is not unique among the caller's projects."""
        super().__init__(retries)
        self.log = log
        self.last = after_event_id
        self.done = False
        self.idle = True
        self._wanted = frozenset(types)
        # The end must be seen even where it was not asked for; it is then kept back.
        self._asked = sorted(self._wanted | TERMINAL_EVENTS) if self._wanted else []
        self._project = project
        self._naming: str | None = None

    def call(self) -> Call[None]:
        self._parser = Parser()
        self.idle = True
        call = self.log.stream(self.last, self._asked)
        return call if self._naming is None else call.naming(self._naming)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        self._failures = 0
        for frame in self._parser.feed(chunk):
            event = self._event(frame)
            # A server that ignores Last-Event-ID, or a proxy that replays, sends what was seen already.
            if event.event_id <= self.last:
                continue
            self.last, self.idle, self.done = event.event_id, False, event.terminal
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

    def over(self, state: State, rest: EventPage) -> bool:
        """Whether nothing can come any more: the run had ended, and after that no event was left.

        `rest` is the page after `last`, read after `state`: the terminal event is stored with the state.
        """
        return state.terminal and not rest.data

    def rest(self) -> Call[EventPage]:
        return self.log.page(self.last, self._asked, limit=1)

    def _event(self, frame: Frame) -> Event:
        try:
            payload = msgspec.json.decode(frame.data, type=dict[str, Any])
            return Event(event_id=int(frame.id), event_type=str(payload["type"]), payload=payload)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            trouble = f"{type(error).__name__}: {error}"
        raise UnexpectedAnswerError(f"The stream of run {self.log.run_id} was not understood: {trouble}", 200)
