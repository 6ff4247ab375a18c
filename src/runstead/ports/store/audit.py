"""The audit log, and the nouns whose changes it records."""

from typing import Protocol

import msgspec

from runstead.core.audit import Audit, AuditEntry
from runstead.ports.store.alerts import Alerts
from runstead.ports.store.batches import BatchChanges
from runstead.ports.store.browser_sessions import BrowserSessions
from runstead.ports.store.budgets import Budgets
from runstead.ports.store.bulk_jobs import BulkJobs
from runstead.ports.store.concurrency import Concurrency
from runstead.ports.store.identity import Identity
from runstead.ports.store.prices import Prices
from runstead.ports.store.push_services import PushServices
from runstead.ports.store.quotas import Quotas
from runstead.ports.store.schedules import Schedules
from runstead.ports.store.triggers import Triggers
from runstead.ports.store.webhooks import Webhooks
from runstead.ports.store.workers import Workers


class AuditQuery(msgspec.Struct, frozen=True):
    """Filters of a list of entries: an entry must match all that are not None. Times in ms, exclusive.

    `object_id` needs `object_kind`. `before` continues after a page: `at` and `seq` of its last row.
    """

    project_id: str
    limit: int
    actor: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    before: tuple[int, int] | None = None


class AuditLog(Protocol):
    """Entries are only added, and deleted when they are old. The store refuses to change one."""

    async def add(self, audit: Audit) -> None:
        """Store the entries of an action that changes no record. The audit names its object."""

    async def page(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries, newest first."""

    async def expire(self, age_ms: int, limit: int) -> int:
        """Delete at most `limit` entries that are older than `age_ms`, oldest first. Returns their number."""


class Recording(Protocol):
    """Nouns of a store. Each record that a command changes gets its audit entries in the command's transaction.

    `core.audit.entries` builds them from the record before and after the change. A refused command, a replayed
    response and a command without effect leave none. Runs have `Transition.audit` instead.
    """

    alerts: Alerts
    batches: BatchChanges
    browser_sessions: BrowserSessions
    bulk_jobs: BulkJobs
    budgets: Budgets
    concurrency: Concurrency
    identity: Identity
    prices: Prices
    quotas: Quotas
    push_services: PushServices
    schedules: Schedules
    triggers: Triggers
    webhooks: Webhooks
    workers: Workers
