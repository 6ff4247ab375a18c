"""The events that webhooks receive: which change of a run is an event, and its payload."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from runstead.core import limits
from runstead.core.clock import iso, iso_or_none
from runstead.core.runs.run import Run, RunStatus
from runstead.core.webhooks.body import Message
from runstead.core.webhooks.webhook import Delivery, Webhook, addressed, new_delivery

TEST: Final = "webhook.test"
EVENT_TYPES: Final = (
    "run.started",
    "run.waiting",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "alert.fired",
    "alert.resolved",
    "budget.alert",
    "budget.reached",
)
"""The events that a webhook can subscribe to by name, besides `*`.

A noun with its own events adds them here.
"""

_OF_STATUS: Final = {
    RunStatus.RUNNING: "run.started",
    RunStatus.WAITING: "run.waiting",
    RunStatus.COMPLETED: "run.completed",
    RunStatus.FAILED: "run.failed",
    RunStatus.CANCELLED: "run.cancelled",
}
_encode = msgspec.json.Encoder().encode


def event_of(old: Run | None, new: Run) -> str | None:
    """Return the event of a change of a run, None if there is none. A change of the status is an event,
    except the end of a wait and a return to the queue.
    """
    if old is not None and (
        old.status is new.status or (old.status is RunStatus.WAITING and not new.terminal)
    ):
        return None
    return _OF_STATUS.get(new.status)


def deliveries(run: Run, event_type: str, webhooks: Iterable[Webhook], now: int) -> list[Delivery]:
    """Create a delivery for each webhook that wants the event. Ids are derived from the change, so that a
    change never creates two deliveries for a webhook.
    """
    receivers = [webhook for webhook in webhooks if webhook.wants(event_type)]
    if not receivers:
        return []
    return addressed(message_of(run, event_type, now), receivers, f"{run.uid}:{run.version}", run.run_id)


def message_of(run: Run, event_type: str, now: int) -> Message:
    """Build the message of an event: the run after the change, with the member names of the public run object.
    Large values are left out and listed in `omitted`; the receiver reads them from the run.
    """
    omitted: list[str] = []

    def value(name: str) -> Any:
        text: bytes | None = getattr(run, name)
        if text is not None and len(text) > limits.webhook_value_bytes_max:
            omitted.append(name)
            return None
        return None if text is None else msgspec.Raw(text)

    data = {
        "run_id": run.run_id,
        "project_id": run.project_id,
        "kind": run.kind,
        "status": run.status.value,
        "owner": {"kind": run.owner_kind, "id": run.owner_id},
        "conversation_id": run.conversation_id,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root_run_id,
        "target": run.target,
        "workflow_id": run.workflow_id,
        "schedule_id": run.schedule_id,
        "batch_id": run.batch_id,
        "trigger_kind": run.trigger_kind,
        "trigger_id": run.trigger_id,
        "retry_of": run.retry_of,
        "created_by": run.created_by,
        "title": run.title,
        "labels": value("labels") or {},
        "attempt": run.attempt,
        "waiting_reason": run.shown_reason,
        "waiting_tool_call_id": run.waiting_tool_call_id,
        "paused": run.paused,
        "created_at": iso(run.created_at),
        "started_at": iso_or_none(run.started_at),
        "completed_at": iso_or_none(run.completed_at),
        "duration_ms": run.duration_ms,
        "exit_code": run.exit_code,
        "error": value("error"),
        "metadata": value("metadata"),
        "output": value("output"),
        "omitted": omitted,
    }
    text = f"{event_type}: {run.target or run.kind}, {run.title or run.run_id}"
    encoded = msgspec.Raw(_encode(data))  # once for all receivers
    return Message(event_type, now, run.project_id, f"runs/{run.run_id}", text, encoded)


def new_test_delivery(delivery_id: str, webhook: Webhook, now: int) -> Delivery:
    """Build the delivery of a `webhook.test` event. `now` in ms."""
    data = {"webhook_id": webhook.id, "project_id": webhook.project_id}
    message = Message(
        TEST, now, webhook.project_id, f"webhooks/{webhook.id}", "A test of this webhook of Runstead", data
    )
    return new_delivery(delivery_id, webhook, TEST, None, message.body(webhook.format, delivery_id), now)
