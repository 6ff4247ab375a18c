"""Routes of a run's event log."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runstead.sdk.models.event import (
    Appended,
    ConversationAppended,
    ConversationEventPage,
    Event,
    EventPage,
    EventSummary,
    EventTypeList,
    Snapshot,
)
from runstead.sdk.routes.call import Call, fence, members, new_key, path, query
from runstead.sdk.routes.route import RouteGroup, route

#: Objects with a string `type`, or such an object as JSON text.
Events = Sequence[Mapping[str, Any] | msgspec.Raw]


class EventRoutes(RouteGroup):
    """A refused append stores no event.

    Errors: 400 EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING or EVENT_TOO_LARGE; 409 ATTEMPT_SUPERSEDED.
    """

    @route
    def append_events(
        self,
        run_id: str,
        events: Events,
        *,
        expected_previous_event_id: int | None = None,
        expected_previous_external_event_sequence: int | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Appended]:
        """`POST /runs/{run_id}/events`: store 1 to 100 events in one transaction.

        An event's JSON is under 256 KiB, the whole request under 10 MiB. RUN_FINISHED and RUN_ERROR are refused:
        completing the run writes them. An event with an `idempotency_key` (1 to 255 characters) is stored once per run;
        `appended_count` counts the new ones, and another event under a stored key is 409 IDEMPOTENCY_KEY_REUSED.
        """
        body = _append(events, expected_previous_event_id, expected_previous_external_event_sequence, attempt)
        return Call(
            "POST",
            path("runs", run_id, "events"),
            Appended,
            body=body,
            headers=fence(lease_token),
            idempotency_key=idempotency_key or new_key(),
        )

    @route
    def append_conversation_events(
        self,
        conversation_id: str,
        run_id: str,
        events: Events,
        *,
        expected_previous_event_id: int | None = None,
        expected_previous_external_event_sequence: int | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ConversationAppended]:
        """`POST /conversations/{conversation_id}/runs/{run_id}/events`: as `append_events`; returns the projection."""
        body = _append(events, expected_previous_event_id, expected_previous_external_event_sequence, attempt)
        return Call(
            "POST",
            path("conversations", conversation_id, "runs", run_id, "events"),
            ConversationAppended,
            body=body,
            headers=fence(lease_token),
            idempotency_key=idempotency_key or new_key(),
        )

    @route
    def list_events(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        limit: int | None = None,
        event_types: Sequence[str] = (),
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> Call[EventPage]:
        """`GET /runs/{run_id}/events`: one page, in order. `limit` is 1 to 500.

        With `include_descendants` the events of all descendants are included, in the order in which they were stored.
        The next page is then read by `cursor` (an event's, or `page_info.next`), not by `after_event_id`.
        """
        parameters = _range(after_event_id, limit, event_types, cursor, family=include_descendants)
        return Call("GET", path("runs", run_id, "events"), EventPage, parameters)

    @route
    def list_conversation_events(
        self,
        conversation_id: str,
        run_id: str,
        *,
        after_event_id: int = 0,
        limit: int | None = None,
        event_types: Sequence[str] = (),
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> Call[ConversationEventPage]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/events`: one page, in order. As `list_events`."""
        parameters = _range(after_event_id, limit, event_types, cursor, family=include_descendants)
        where = path("conversations", conversation_id, "runs", run_id, "events")
        return Call("GET", where, ConversationEventPage, parameters)

    @route
    def get_event(self, run_id: str, event_id: int) -> Call[Event]:
        """`GET /runs/{run_id}/events/{event_id}`: one event. 404 for an unknown or private event."""
        return Call("GET", path("runs", run_id, "events", str(event_id)), Event)

    @route
    def event_summary(self, run_id: str) -> Call[EventSummary]:
        """`GET /runs/{run_id}/events/summary`: the number of events of each type, and their first and last times."""
        return Call("GET", path("runs", run_id, "events", "summary"), EventSummary)

    @route
    def event_types(self) -> Call[EventTypeList]:
        """`GET /runs/event-types`: the documented event types and their members."""
        return Call("GET", path("runs", "event-types"), EventTypeList)

    @route
    def snapshot(self, conversation_id: str, run_id: str) -> Call[Snapshot]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/snapshot`: the run's messages and state."""
        return Call("GET", path("conversations", conversation_id, "runs", run_id, "snapshot"), Snapshot)


def _range(
    after_event_id: int, limit: int | None, types: Sequence[str], cursor: str | None, *, family: bool
) -> tuple[tuple[str, str], ...]:
    if family:
        return query(include_descendants=True, cursor=cursor, limit=limit, event_type=types)
    return query(after_event_id=after_event_id, limit=limit, event_type=types)


def _append(
    events: Events, event_id: int | None, sequence: int | None, attempt: int | None
) -> dict[str, Any]:
    return members(
        events=list(events),
        expected_previous_event_id=event_id,
        expected_previous_external_event_sequence=sequence,
        attempt=attempt,
    )
