"""Appending to a run's log and reading it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runstead.sdk.call import Call, fence, members, new_key, path, query
from runstead.sdk.event import (
    Appended,
    ConversationAppended,
    ConversationEventPage,
    EventPage,
    Snapshot,
)
from runstead.sdk.route import Described, route

#: Objects with a string `type`, or such an object as JSON text.
Events = Sequence[Mapping[str, Any] | msgspec.Raw]


class EventRoutes(Described):
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
        completing the run writes them.
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
    ) -> Call[EventPage]:
        """`GET /runs/{run_id}/events`: one page, in order. `limit` is 1 to 500."""
        asked = query(after_event_id=after_event_id, limit=limit, event_type=event_types)
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
    ) -> Call[ConversationEventPage]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/events`: one page, in order. `limit` is 1 to 500."""
        asked = query(after_event_id=after_event_id, limit=limit, event_type=event_types)
        where = path("conversations", conversation_id, "runs", run_id, "events")
        return Call("GET", where, ConversationEventPage, asked)

    @route
    def snapshot(self, conversation_id: str, run_id: str) -> Call[Snapshot]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/snapshot`: the run folded into messages and state."""
        return Call("GET", path("conversations", conversation_id, "runs", run_id, "snapshot"), Snapshot)


def _append(
    events: Events, event_id: int | None, sequence: int | None, attempt: int | None
) -> dict[str, Any]:
    return members(
        events=list(events),
        expected_previous_event_id=event_id,
        expected_previous_external_event_sequence=sequence,
        attempt=attempt,
    )
