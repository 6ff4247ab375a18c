"""The messages of alerts: which webhooks receive them, and their content."""

from collections.abc import Iterable
from typing import Final

from runstead.core.alerts.alert import KINDS, Alert, Firing, format_value
from runstead.core.alerts.evaluate import firing_id
from runstead.core.clock import iso_or_none
from runstead.core.webhooks.body import Message
from runstead.core.webhooks.webhook import Delivery, Webhook, addressed

TEST: Final = "alert.test"


def receivers(alert: Alert, event_type: str, webhooks: Iterable[Webhook]) -> list[Webhook]:
    """Return the webhooks that receive the rule's messages: the one that it names while that is enabled, else all
    that subscribe to the event. So no alert is lost because its webhook was deleted or disabled.
    """
    enabled = [one for one in webhooks if one.disabled_at is None]
    named = [one for one in enabled if one.id == alert.webhook_id]
    wanted = "alert.fired" if event_type == TEST else event_type
    return named or [one for one in enabled if one.wants(wanted)]


def deliveries(
    alert: Alert,
    event_type: str,
    webhooks: Iterable[Webhook],
    now: int,
    *,
    firing: Firing | None = None,
    key: str | None = None,
) -> list[Delivery]:
    """Create a delivery for each receiver. `alert`: after the evaluation; `firing`: the one that began or ended.

    Ids are derived from `key`, by default the rule's version: one evaluation never creates two deliveries for a webhook.
    """
    content = message(alert, event_type, now, firing)
    return addressed(content, receivers(alert, event_type, webhooks), f"{alert.id}:{key or alert.version}")


def message(alert: Alert, event_type: str, now: int, firing: Firing | None = None) -> Message:
    """Build the message of an event of a rule."""
    since = alert.firing_since if firing is None else firing.fired_at
    text = summary(alert, event_type)
    return Message(
        type=event_type,
        at=now,
        project_id=alert.project_id,
        subject=f"alerts/{alert.id}",
        text=text,
        data={
            "alert_id": alert.id,
            "project_id": alert.project_id,
            "name": alert.name,
            "kind": alert.kind,
            "target": alert.target,
            "schedule_id": alert.schedule_id,
            "value": alert.value,
            "threshold": alert.threshold,
            "window_seconds": alert.window_seconds,
            "firing_id": None if since is None else firing_id(alert, since),
            "fired_at": iso_or_none(since),
            "resolved_at": None if firing is None else iso_or_none(firing.resolved_at),
            "summary": text,
        },
    )


def summary(alert: Alert, event_type: str) -> str:
    """Return one sentence for people."""
    state = {"alert.fired": "FIRING", "alert.resolved": "RESOLVED", TEST: "TEST"}[event_type]
    value, threshold = (format_value(alert.kind, each) for each in (alert.value, alert.threshold))
    subject = alert.target or alert.schedule_id
    about = f" ({subject})" if subject else ""
    return f"[{state}] {alert.name}{about}: {KINDS[alert.kind].label} {value}, threshold {threshold}"
