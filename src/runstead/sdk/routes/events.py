"""Appending to a run's log and reading it."""

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
    """A refused append stores nothing: 400 with the code EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING
    or EVENT_TOO_LARGE; 409 ATTEMPT_SUPERSEDED.
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
        """`POST /conversations/{conversation_id}/runs/{run_id}/events`: the same, answered with the projection."""
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

        With `include_descendants` also the events of all runs below, in the order in which they were stored; they go
        on by `cursor` (an event's, or `page_info.next`), not by `after_event_id`.
        """
        asked = _range(after_event_id, limit, event_types, cursor, family=include_descendants)
        return Call("GET", path("runs", run_id, "events"), EventPage, asked)

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
        asked = _range(after_event_id, limit, event_types, cursor, family=include_descendants)
        where = path("conversations", conversation_id, "runs", run_id, "events")
        return Call("GET", where, ConversationEventPage, asked)

    @route
    def get_event(self, run_id: str, event_id: int) -> Call[Event]:
        """`GET /runs/{run_id}/events/{event_id}`: one event; 404 where there is none, or a private one."""
        return Call("GET", path("runs", run_id, "events", str(event_id)), Event)

    @route
    def event_summary(self, run_id: str) -> Call[EventSummary]:
        """`GET /runs/{run_id}/events/summary`: how many events of each type, and from when to when."""
        return Call("GET", path("runs", run_id, "events", "summary"), EventSummary)

    @route
    def event_types(self) -> Call[EventTypeList]:
        """`GET /runs/event-types`: the types that clients know, with their members."""
        return Call("GET", path("runs", "event-types"), EventTypeList)

    @route
    def snapshot(self, conversation_id: str, run_id: str) -> Call[Snapshot]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/snapshot`: the run folded into messages and state."""
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
