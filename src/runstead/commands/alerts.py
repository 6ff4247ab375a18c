"""Alert rules of a project.

All commands need the scope admin: as webhooks, they send messages after the key that created them is revoked.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.core import limits
from runstead.core.alerts import alert as rules
from runstead.core.alerts.alert import Alert, AlertKind, Firing, Measurement
from runstead.core.alerts.message import TEST, deliveries
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Scope
from runstead.core.webhooks.webhook import Delivery, Webhook

_BOUND: Final = "cannot manage alerts"


async def _check_names(access: Access, members: Mapping[str, Any]) -> None:
    """NOT_FOUND if a member names a webhook or a schedule that the project does not have."""
    store = access.store
    for what, get in (("Webhook", store.webhooks.get), ("Schedule", store.schedules.get)):
        named = members.get(f"{what.lower()}_id")
        if named is not None and await get(access.project_id, named) is None:
            raise not_found(what)


@needs(Scope.ADMIN, bound=_BOUND, records="alert.create")
async def create(
    access: Access, kind: AlertKind, members: Mapping[str, Any], idempotency: Idempotency = None
) -> Alert:
    """Create a rule of these members of `Alert`. Raises INVALID_REQUEST, NOT_FOUND, ALERT_LIMIT_REACHED."""
    await _check_names(access, members)
    defaults: dict[str, Any] = {
        "name": rules.default_name(kind, members.get("target")),
        "threshold": rules.KINDS[kind].threshold,
    }
    alert = Alert(
        id=str(uuid.uuid4()),
        project_id=access.project_id,
        kind=kind,
        created_at=0,  # the store sets the times
        updated_at=0,
        created_by=access.user,
        **(defaults | dict(members)),
    )
    rules.check(alert)
    guard = at_most(limits.alerts_per_project_max, "alert rules", "ALERT_LIMIT_REACHED")
    return await access.recording.alerts.create(alert, guard, idempotency)


@needs(Scope.ADMIN, bound=_BOUND)
async def page(access: Access) -> list[Alert]:
    """List the project's rules: those that fire first, then oldest first."""
    found = await access.store.alerts.page(access.project_id, limits.alerts_per_project_max)
    return sorted(found, key=lambda alert: alert.firing_since is None)


@needs(Scope.ADMIN, bound=_BOUND)
async def get(access: Access, alert_id: str) -> Alert:
    """Return a rule. Raises NOT_FOUND."""
    return await _stored(access, alert_id)


async def _stored(access: Access, alert_id: str) -> Alert:
    return existing(await access.store.alerts.get(access.project_id, alert_id), "Alert")


@needs(Scope.ADMIN, bound=_BOUND, records="alert.change")
async def change(
    access: Access,
    alert_id: str,
    members: Mapping[str, Any],
    *,
    enabled: bool | None = None,
    idempotency: Idempotency = None,
) -> Alert:
    """Change these members of a rule. Raises INVALID_REQUEST, NOT_FOUND."""
    await _check_names(access, members)

    def decide(alert: Alert, now: int) -> Alert:
        return rules.changed(alert, members, enabled=enabled, now=now)

    return await access.recording.alerts.change(access.project_id, alert_id, decide, idempotency)


@needs(Scope.ADMIN, bound=_BOUND, records="alert.mute")
async def mute(access: Access, alert_id: str, until: int | None, idempotency: Idempotency = None) -> Alert:
    """Send no messages of a rule until a time (ms), None for ever. Raises INVALID_REQUEST, NOT_FOUND."""

    def decide(alert: Alert, now: int) -> Alert:
        return rules.muted(alert, until, now)

    return await access.recording.alerts.change(access.project_id, alert_id, decide, idempotency)


@needs(Scope.ADMIN, bound=_BOUND, records="alert.unmute")
async def unmute(access: Access, alert_id: str, idempotency: Idempotency = None) -> Alert:
    """Send messages of a rule again. Raises NOT_FOUND."""
    return await access.recording.alerts.change(access.project_id, alert_id, rules.unmuted, idempotency)


@needs(Scope.ADMIN, bound=_BOUND, records="alert.delete")
async def delete(access: Access, alert_id: str) -> None:
    """Delete a rule with its history. Raises NOT_FOUND."""
    if not await access.recording.alerts.delete(access.project_id, alert_id):
        raise not_found("Alert")


@needs(Scope.ADMIN, bound=_BOUND)
async def send_test(access: Access, alert_id: str, idempotency: Idempotency = None) -> list[Delivery]:
    """Send an `alert.test` to the receivers of a rule, also if it is muted. Raises NOT_FOUND, ALERT_HAS_NO_WEBHOOK."""
    key = str(uuid.uuid4())

    def decide(alert: Alert, webhooks: Sequence[Webhook], now: int) -> list[Delivery]:
        made = deliveries(alert, TEST, webhooks, now, key=key)
        if not made:
            sentence = "No enabled webhook receives the messages of this rule: subscribe one to alert.fired"
            raise Error("ALERT_HAS_NO_WEBHOOK", sentence)
        return made

    sent = await access.store.alerts.notify(access.project_id, alert_id, decide, idempotency)
    access.app.publish_deliveries()
    return sent


@needs(Scope.ADMIN, bound=_BOUND)
async def history(access: Access, alert_id: str, limit: int, before: int | None) -> list[Firing]:
    """List when a rule fired and resolved, newest first. Raises NOT_FOUND."""
    alert = await _stored(access, alert_id)
    return await access.store.alerts.history(alert.project_id, alert.id, limit, before)


async def evaluate_due(app: App, not_measured: Callable[[Alert, Error], object]) -> int:
    """Evaluate at most `limits.alerts_per_tick_max` rules that are due. Returns their number.

    A rule that cannot be measured keeps its state, and does not delay the others.
    """
    measured: list[tuple[Alert, Measurement | None]] = []
    for alert in await app.store.alerts.due(limits.alerts_per_tick_max):
        try:
            measured.append((alert, await app.store.alerts.measure(alert)))
        except Error as error:
            not_measured(alert, error)
            measured.append((alert, None))
    if measured and await app.store.alerts.evaluate(measured):
        app.publish_deliveries()
    return len(measured)
