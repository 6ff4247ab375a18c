"""The audit log, and the nouns whose commands write to it.

A command of a noun yields `Changed` for each record that it changes. A `SqlRecording` stores the audit entries of these
steps in the command's transaction; without one they have no effect.
"""

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from runstead.core import limits
from runstead.core.audit import Audit, AuditEntry, entries
from runstead.core.idempotency import IdempotencyRecord
from runstead.engines.sql.alerts import SqlAlerts
from runstead.engines.sql.batches import SqlBatches
from runstead.engines.sql.browser_sessions import SqlBrowserSessions
from runstead.engines.sql.budgets import SqlBudgets
from runstead.engines.sql.bulk_jobs import SqlBulkJobs
from runstead.engines.sql.concurrency import SqlConcurrency
from runstead.engines.sql.identity import SqlIdentity
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.prices import SqlPrices
from runstead.engines.sql.push_services import SqlPushServices
from runstead.engines.sql.quotas import SqlQuotas
from runstead.engines.sql.schedules import SqlSchedules
from runstead.engines.sql.steps import Changed, Database, Steps, StoreDatabase, execute, execute_many, select
from runstead.engines.sql.triggers import SqlTriggers
from runstead.engines.sql.webhooks import SqlWebhooks
from runstead.engines.sql.workers import SqlWorkers
from runstead.ports.store.audit import AuditQuery

P = ParamSpec("P")
T = TypeVar("T")


class SqlAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, audit: Audit) -> None:
        await self._database.write(lambda now: add_entries(entries(audit, None, None, now)))

    async def page(self, query: AuditQuery) -> list[AuditEntry]:
        # One index for each filter; the others are checked on the rows that it finds.
        statement = "audit_page"
        if query.object_id is not None:
            statement = "audit_page_of_object"
        elif query.actor is not None:
            statement = "audit_page_of_actor"
        elif query.action is not None:
            statement = "audit_page_of_action"
        last = (limits.integer_max, 0) if query.created_before is None else (query.created_before, 0)
        at, seq = last if query.before is None else min(last, query.before)
        return await self._database.page(
            select,
            statement,
            AuditEntry,
            project_id=query.project_id,
            actor=query.actor,
            action=query.action,
            object_kind=query.object_kind,
            object_id=query.object_id,
            after=-1 if query.created_after is None else query.created_after,
            before_at=at,
            before_seq=seq,
            limit=query.limit,
        )

    async def expire(self, age_ms: int, limit: int) -> int:
        def expire(now: int) -> Steps[int]:
            before = now - age_ms
            yield from execute("allow_audit_expiry", before=before)
            expired = yield from execute("expire_audit_entries", before=before, limit=limit)
            yield from execute("refuse_audit_expiry")
            return expired

        return await self._database.write(expire)


class SqlRecording:
    """See `runstead.ports.store.Recording`."""

    def __init__(self, database: StoreDatabase, audit: Audit) -> None:
        recording = _RecordingDatabase(database, audit)
        self.alerts = SqlAlerts(recording)
        self.batches = SqlBatches(recording)
        self.browser_sessions = SqlBrowserSessions(recording)
        self.bulk_jobs = SqlBulkJobs(recording)
        self.budgets = SqlBudgets(recording)
        self.concurrency = SqlConcurrency(recording)
        self.identity = SqlIdentity(recording)
        self.prices = SqlPrices(recording)
        self.quotas = SqlQuotas(recording)
        self.push_services = SqlPushServices(recording)
        self.schedules = SqlSchedules(recording)
        self.triggers = SqlTriggers(recording)
        self.webhooks = SqlWebhooks(recording)
        self.workers = SqlWorkers(recording)


class _RecordingDatabase:
    """A database whose commands store an audit entry for each `Changed` step."""

    def __init__(self, database: StoreDatabase, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    async def read(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.read(steps, *args, **kwargs)

    async def scan(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.scan(steps, *args, **kwargs)

    async def page(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.page(steps, *args, **kwargs)

    async def write(
        self,
        command: Callable[[int], Steps[T]],
        idempotency: IdempotencyRecord | None = None,
        *,
        quick: bool = False,
    ) -> T:
        return await self._database.write(
            lambda now: _recorded(command(now), self._audit, now), idempotency, quick=quick
        )

    async def settle(self) -> None:
        await self._database.settle()


def _recorded(steps: Steps[T], audit: Audit, now: int) -> Steps[T]:
    """The same steps, with the audit entries of what they change."""
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        if isinstance(step, Changed):
            yield from add_entries(entries(audit, step.before, step.after, now))
            answer = None
        else:
            answer = yield step


def add_entries(new: Iterable[AuditEntry]) -> Steps[None]:
    yield from execute_many("add_audit_entry", map(fields, new))
