"""The routes of one run's event log, under `/runs/{id}` or under `/conversations/{id}/runs/{id}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec

from runstead.sdk.models.event import ConversationEvent, ConversationEventPage, Event, EventPage
from runstead.sdk.models.response import ResponseModel
from runstead.sdk.models.run import TERMINAL_STATUSES, Descendants
from runstead.sdk.routes.call import Call, path, query

EVENTS_PER_PAGE: Final = 500


class RunState(ResponseModel, frozen=True, kw_only=True):
    """As much of a run, or of its projection, as a follower needs."""

    status: str
    descendants: Descendants = Descendants()

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True)
class EventLog:
    """`family`: with the events of all runs below. Its places are cursors, those of one run's log event ids."""

    run_id: str
    conversation_id: str | None = None
    family: bool = False

    @property
    def _place(self) -> tuple[str, ...]:
        if self.conversation_id is None:
            return "runs", self.run_id
        return "conversations", self.conversation_id, "runs", self.run_id

    def state(self) -> Call[RunState]:
        # A projection does not tell of the runs below.
        place = ("runs", self.run_id) if self.family else self._place
        return Call("GET", path(*place), RunState)

    def page(
        self, after: int | str, types: Sequence[str] = (), limit: int = EVENTS_PER_PAGE
    ) -> Call[EventPage]:
        # The two pages differ in a member's name on the wire alone.
        answer: Any = EventPage if self.conversation_id is None else ConversationEventPage
        if self.family:
            asked = query(include_descendants=True, cursor=after or None, limit=limit, event_type=types)
        else:
            asked = query(after_event_id=after, limit=limit, event_type=types)
        return Call("GET", path(*self._place, "events"), answer, asked)

    def next_after(self, page: EventPage) -> int | str | None:
        """Where the page after this one begins, None after the last."""
        following = page.page_info.next
        return following if self.family or following is None else int(following)

    def stream(self, after: int | str, types: Sequence[str] = ()) -> Call[None]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if after:
            headers["Last-Event-ID"] = str(after)
        asked = query(event_type=types, include_descendants=self.family or None)
        return Call("GET", path(*self._place, "stream"), NoneType, asked, headers=headers)

    def event(self, data: str) -> Event:
        """An item of a family's list, as its stream carries it."""
        found: Event = msgspec.json.decode(
            data, type=Event if self.conversation_id is None else ConversationEvent
        )
        return found
