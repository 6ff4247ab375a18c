"""The routes of one run's event log, under `/runs/{id}` or under `/conversations/{id}/runs/{id}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from runstead.sdk.answer import Answer
from runstead.sdk.call import Call, path, query
from runstead.sdk.event import ConversationEventPage, EventPage
from runstead.sdk.run import TERMINAL_STATUSES

EVENTS_PER_PAGE: Final = 500


class State(Answer, frozen=True, kw_only=True):
    """As much of a run, or of its projection, as a follower needs."""

    status: str

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True)
class Log:
    run_id: str
    conversation_id: str | None = None

    @property
    def _place(self) -> tuple[str, ...]:
        if self.conversation_id is None:
            return "runs", self.run_id
        return "conversations", self.conversation_id, "runs", self.run_id

    def state(self) -> Call[State]:
        return Call("GET", path(*self._place), State)

    def page(
        self, after_event_id: int, types: Sequence[str] = (), limit: int = EVENTS_PER_PAGE
    ) -> Call[EventPage]:
        # The two pages differ in a member's name on the wire alone.
        answer: Any = EventPage if self.conversation_id is None else ConversationEventPage
        asked = query(after_event_id=after_event_id, limit=limit, event_type=types)
        return Call("GET", path(*self._place, "events"), answer, asked)

    @staticmethod
    def next_after(page: EventPage) -> int | None:
        """The `after_event_id` of the page after this one, None after the last."""
        return None if page.page_info.next is None else int(page.page_info.next)

    def stream(self, after_event_id: int, types: Sequence[str] = ()) -> Call[None]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if after_event_id > 0:
            headers["Last-Event-ID"] = str(after_event_id)
        return Call("GET", path(*self._place, "stream"), NoneType, query(event_type=types), headers=headers)
