"""Routes of one event log for followers, under `/runs/{id}` or under `/conversations/{id}/runs/{id}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from runstead.sdk.models.event import ConversationEvent, ConversationEventPage, Event, EventPage
from runstead.sdk.models.response import ResponseModel
from runstead.sdk.models.run import TERMINAL_STATUSES, Descendants
from runstead.sdk.routes.call import Call, event_stream, path, query

EVENTS_PER_PAGE: Final = 500


class RunState(ResponseModel, frozen=True, kw_only=True):
    """The members of a run, or of its projection, that a follower reads."""

    status: str
    descendants: Descendants = Descendants()

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True)
class EventLog:
    """The log of a run. `family`: with the events of its descendants.

    A position in a family's log is a cursor, a position in one run's log is an event id.
    """

    run_id: str
    conversation_id: str | None = None
    family: bool = False

    @property
    def _run_path(self) -> tuple[str, ...]:
        if self.conversation_id is None:
            return "runs", self.run_id
        return "conversations", self.conversation_id, "runs", self.run_id

    def position(self, after_event_id: int, cursor: str | None) -> int | str:
        """Return the position from which the log is read."""
        return (cursor or "") if self.family else after_event_id

    def state(self) -> Call[RunState]:
        # A projection has no `descendants`.
        segments = ("runs", self.run_id) if self.family else self._run_path
        return Call("GET", path(*segments), RunState)

    def page(
        self, after: int | str, types: Sequence[str] = (), limit: int = EVENTS_PER_PAGE
    ) -> Call[EventPage]:
        # The two pages differ only in the name of a member on the wire.
        answer: Any = EventPage if self.conversation_id is None else ConversationEventPage
        if self.family:
            parameters = query(include_descendants=True, cursor=after or None, limit=limit, event_type=types)
        else:
            parameters = query(after_event_id=after, limit=limit, event_type=types)
        return Call("GET", path(*self._run_path, "events"), answer, parameters)

    def next_after(self, page: EventPage) -> int | str | None:
        """Return the position after which the next page begins, None after the last page."""
        next_position = page.page_info.next
        return next_position if self.family or next_position is None else int(next_position)

    def stream(self, after: int | str, types: Sequence[str] = ()) -> Call[None]:
        parameters = query(event_type=types, include_descendants=self.family or None)
        return event_stream(path(*self._run_path, "stream"), parameters, after=str(after or ""))

    def event(self, data: str) -> Event:
        """Decode an event of a family's stream."""
        found: Event = msgspec.json.decode(
            data, type=Event if self.conversation_id is None else ConversationEvent
        )
        return found
