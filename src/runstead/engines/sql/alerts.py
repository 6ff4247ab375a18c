"""Alert rules."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.alerts.alert import Alert, Firing, Measurement
from runstead.core.alerts.evaluate import evaluate, firing_id
from runstead.core.alerts.message import deliveries
from runstead.core.idempotency import Idempotency
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.rollup import QUARTER, coded
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import command, read
from runstead.engines.sql.project_records import SqlProjectRecords
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    execute,
    first,
    now as engine_time,
    rewrite,
    select,
    select_rows,
    value,
)
from runstead.ports.store import DecideDeliveries


class SqlAlerts(SqlProjectRecords[Alert]):
    _record = Alert
    _noun = "alert"
    _lock_space = LockSpace.ALERTS

    async def page(self, project_id: str, limit: int) -> list[Alert]:
        return await self._database.read(select, "alerts_page", Alert, project_id=project_id, limit=limit)

    @command
    def notify(
        self,
        now: int,
        project_id: str,
        alert_id: str,
        decide: DecideDeliveries,
        idempotency: Idempotency = None,
    ) -> Steps[list[Delivery]]:
        alert = yield from self._lock(project_id, alert_id)
        webhooks = yield from _webhooks(project_id)
        return (yield from _add(decide(alert, webhooks, now)))

    async def history(
        self, project_id: str, alert_id: str, limit: int, before: int | None = None
    ) -> list[Firing]:
        return await self._database.scan(
            select,
            "alert_firings",
            Firing,
            alert_id=alert_id,
            project_id=project_id,
            before=before,
            limit=limit,
        )

    @read
    def due(self, limit: int) -> Steps[list[Alert]]:
        now = yield from engine_time()
        return (yield from select("due_alerts", Alert, now=now, limit=limit))

    async def measure(self, alert: Alert) -> Measurement:
        return await self._database.scan(_measure, alert)

    @command
    def evaluate(self, now: int, measured: Sequence[tuple[Alert, Measurement | None]]) -> Steps[int]:
        sent = 0
        for known, measurement in sorted(measured, key=lambda pair: pair[0].id):
            alert = yield from first("lock_alert_version", Alert, id=known.id, version=known.version)
            if alert is None:
                continue
            new, event, firing = evaluate(alert, measurement, now)
            yield from rewrite("alerts", alert, new, versioned=True)
            if firing is not None:
                yield from _store(firing)
            if event is not None:
                webhooks = yield from _webhooks(alert.project_id)
                sent += len((yield from _add(deliveries(new, event, webhooks, now, firing=firing))))
        return sent

    def _begun(self, record: Alert, now: int) -> Alert:
        return replace(record, created_at=now, updated_at=now, evaluate_at=now)

    def _change_beside(self, old: Alert, new: Alert, now: int) -> Steps[None]:
        if old.firing_since is not None and new.firing_since is None:
            ended_id = firing_id(old, old.firing_since)
            yield from execute("end_alert_firing", None, id=ended_id, resolved_at=now, resolved_value=None)

    def _delete_beside(self, record_id: str) -> Steps[None]:
        yield from execute("delete_alert_firings", alert_id=record_id)


def _webhooks(project_id: str) -> Steps[list[Webhook]]:
    return select("enabled_webhooks", Webhook, project_ids=[project_id])


def _add(new: Sequence[Delivery]) -> Steps[list[Delivery]]:
    for delivery in new:
        yield from value("add_delivery", **fields(delivery))
    return list(new)


def _store(firing: Firing) -> Steps[None]:
    """Add a firing to the history, or end it. The oldest ones beyond the bound are deleted."""
    if firing.resolved_at is not None:
        yield from execute("end_alert_firing", firing)
        return
    yield from execute("add_alert_firing", firing)
    kept = limits.alert_firings_kept_max
    yield from execute("drop_alert_firings", alert_id=firing.alert_id, kept=kept)


def _measure(alert: Alert) -> Steps[Measurement]:
    now = yield from engine_time()
    since = now - alert.window_seconds * 1000
    project_id = alert.project_id
    match alert.kind:
        case "failure_rate":
            way, name = ("all", "") if alert.target is None else ("target", coded(alert.target))
            rows = yield from select_rows(
                "ended_runs",
                project_id=project_id,
                way=way,
                name=name,
                width=QUARTER,
                since=since // QUARTER * QUARTER,
            )
            runs = {row["status"]: int(row["runs"]) for row in rows}
            failed = runs.get("failed", 0)
            return Measurement(failed, failed + runs.get("completed", 0))
        case "pending_age" if alert.target is None:
            oldest = yield from value("oldest_pending", project_id=project_id, now=now)
            return Measurement(oldest)
        case "pending_age":
            oldest = yield from value(
                "oldest_pending_of_target", project_id=project_id, target=alert.target, now=now
            )
            return Measurement(oldest)
        case "schedule_missed" if alert.schedule_id is None:
            return Measurement(int((yield from value("missed_firings", project_id=project_id))))
        case "schedule_missed":
            schedule = yield from first("schedule", Schedule, id=alert.schedule_id, project_id=project_id)
            return Measurement(0 if schedule is None else schedule.missed_count)
        case "worker_silent":
            most = limits.alert_silent_workers_max
            return Measurement(
                (yield from value("silent_workers", project_id=project_id, since=since, most=most))
            )
        case "delivery_failed":
            return Measurement(int((yield from value("failed_deliveries", project_id=project_id))))
