"""Alert rules of a project.

All commands need the scope admin: as webhooks, they send messages after the key that created them is revoked.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.core import limits
from runstead.core.alerts import alert as rules
from runstead.core.alerts.alert import Alert, AlertKind, Firing, Measurement
from runstead.core.alerts.message import TEST, deliveries
from runstead.core.audit import Action, by
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import user_uuid
from runstead.core.webhooks.webhook import Delivery, Webhook


async def _project(app: App, principal: Principal, ref: str) -> str:
    return (await locate.project(app, principal, Scope.ADMIN, ref, bound="cannot manage alerts")).id


async def _check_names(app: App, project_id: str, members: Mapping[str, Any]) -> None:
    """NOT_FOUND if a member names a webhook or a schedule that the project does not have."""
    for what, get in (("Webhook", app.store.webhooks.get), ("Schedule", app.store.schedules.get)):
        named = members.get(f"{what.lower()}_id")
        if named is not None and await get(project_id, named) is None:
            raise not_found(what)


async def create(
    app: App,
    principal: Principal,
    ref: str,
    kind: AlertKind,
    members: Mapping[str, Any],
    idempotency: Idempotency = None,
) -> Alert:
    """Create a rule of these members of `Alert`. Raises INVALID_REQUEST, NOT_FOUND, ALERT_LIMIT_REACHED."""
    project_id = await _project(app, principal, ref)
    await _check_names(app, project_id, members)
    defaults: dict[str, Any] = {
        "name": rules.default_name(kind, members.get("target")),
        "threshold": rules.KINDS[kind].threshold,
    }
    alert = Alert(
        id=str(uuid.uuid4()),
        project_id=project_id,
        kind=kind,
        created_at=0,  # the store sets the times
        updated_at=0,
        created_by=user_uuid(principal.id),
        **(defaults | dict(members)),
    )
    rules.check(alert)
    alerts = app.store.recording(by(principal, "alert.create", project_id)).alerts
    guard = at_most(limits.alerts_per_project_max, "alert rules", "ALERT_LIMIT_REACHED")
    return await alerts.create(alert, guard, idempotency)


async def page(app: App, principal: Principal, ref: str) -> list[Alert]:
    """List the project's rules: those that fire first, then oldest first."""
    project_id = await _project(app, principal, ref)
    found = await app.store.alerts.page(project_id, limits.alerts_per_project_max)
    return sorted(found, key=lambda alert: alert.firing_since is None)


async def get(app: App, principal: Principal, ref: str, alert_id: str) -> Alert:
    """Return a rule. Raises NOT_FOUND."""
    return existing(await app.store.alerts.get(await _project(app, principal, ref), alert_id), "Alert")


async def _change(
    app: App,
    principal: Principal,
    project_id: str,
    alert_id: str,
    action: Action,
    decide: Callable[[Alert, int], Alert],
    idempotency: Idempotency,
) -> Alert:
    alerts = app.store.recording(by(principal, action, project_id)).alerts
    return await alerts.change(project_id, alert_id, decide, idempotency)


async def change(
    app: App,
    principal: Principal,
    ref: str,
    alert_id: str,
    members: Mapping[str, Any],
    *,
    enabled: bool | None = None,
    idempotency: Idempotency = None,
) -> Alert:
    """Change these members of a rule. Raises INVALID_REQUEST, NOT_FOUND."""
    project_id = await _project(app, principal, ref)
    await _check_names(app, project_id, members)

    def decide(alert: Alert, now: int) -> Alert:
        return rules.changed(alert, members, enabled=enabled, now=now)

    return await _change(app, principal, project_id, alert_id, "alert.change", decide, idempotency)


async def mute(
    app: App,
    principal: Principal,
    ref: str,
    alert_id: str,
    until: int | None,
    idempotency: Idempotency = None,
) -> Alert:
    """Send no messages of a rule until a time (ms), None for ever. Raises INVALID_REQUEST, NOT_FOUND."""
    project_id = await _project(app, principal, ref)

    def decide(alert: Alert, now: int) -> Alert:
        return rules.muted(alert, until, now)

    return await _change(app, principal, project_id, alert_id, "alert.mute", decide, idempotency)


async def unmute(
    app: App, principal: Principal, ref: str, alert_id: str, idempotency: Idempotency = None
) -> Alert:
    """Send messages of a rule again. Raises NOT_FOUND."""
    project_id = await _project(app, principal, ref)
    return await _change(app, principal, project_id, alert_id, "alert.unmute", rules.unmuted, idempotency)


async def delete(app: App, principal: Principal, ref: str, alert_id: str) -> None:
    """Delete a rule with its history. Raises NOT_FOUND."""
    project_id = await _project(app, principal, ref)
    alerts = app.store.recording(by(principal, "alert.delete", project_id)).alerts
    if not await alerts.delete(project_id, alert_id):
        raise not_found("Alert")


async def send_test(
    app: App, principal: Principal, ref: str, alert_id: str, idempotency: Idempotency = None
) -> list[Delivery]:
    """Send an `alert.test` to the receivers of a rule, also if it is muted. Raises NOT_FOUND, ALERT_HAS_NO_WEBHOOK."""
    project_id = await _project(app, principal, ref)
    key = str(uuid.uuid4())

    def decide(alert: Alert, webhooks: Sequence[Webhook], now: int) -> list[Delivery]:
        made = deliveries(alert, TEST, webhooks, now, key=key)
        if not made:
            sentence = "No enabled webhook receives the messages of this rule: subscribe one to alert.fired"
            raise Error("ALERT_HAS_NO_WEBHOOK", sentence)
        return made

    sent = await app.store.alerts.notify(project_id, alert_id, decide, idempotency)
    app.publish_deliveries()
    return sent


async def history(
    app: App, principal: Principal, ref: str, alert_id: str, limit: int, before: int | None
) -> list[Firing]:
    """List when a rule fired and resolved, newest first. Raises NOT_FOUND."""
    alert = await get(app, principal, ref, alert_id)
    return await app.store.alerts.history(alert.project_id, alert.id, limit, before)


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
