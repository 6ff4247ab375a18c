"""A run's log, folded: what a late reader needs instead of every event."""

import msgspec

from runstead import limits
from runstead.commands import runs
from runstead.http.endpoint import Call, Nothing, Reply, Routes
from runstead.http.events import named_in_conversation
from runstead.http.run_view import JsonObject, agent_details
from runstead.message import Fold

routes = Routes("Conversations")


class SnapshotEvent(msgspec.Struct, frozen=True):
    """`event_id` is null where the event was made by folding."""

    event_id: int | None
    event: JsonObject


class Snapshot(msgspec.Struct, frozen=True):
    """The log up to `after_event_id`: its messages, its state, then its terminal event where there is one."""

    after_event_id: int
    events: list[SnapshotEvent]


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/snapshot",
    answer=Snapshot,
    errors=("NOT_FOUND",),
)
async def snapshot(call: Call[Nothing, Nothing]) -> Reply:
    """What an agent run has said and done so far; follow the stream after `after_event_id` from here."""
    run = await runs.get(call.app, call.principal, named_in_conversation(call))
    fold, after = Fold(), 0
    while after < run.latest_event_id:
        events = await call.app.store.runs.events(
            run.seq, after, limits.event_rows_max, limits.event_page_bytes_max
        )
        # What came after the run was read belongs to the stream: the status below would not fit it.
        events = [event for event in events if event.event_id <= run.latest_event_id]
        for event in events:
            fold.add(event)
        if not events:  # what is left is private
            break
        after = events[-1].event_id
    folded = fold.snapshot(run.status, message_id=agent_details(run).message_id or run.run_id)
    told = [SnapshotEvent(event_id, msgspec.Raw(event)) for event_id, event in folded]
    return Reply(200, Snapshot(run.latest_event_id, told))
