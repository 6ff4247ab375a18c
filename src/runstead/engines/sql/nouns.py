"""The nouns of a store that both engines share."""

from collections.abc import Callable
from typing import Any

from runstead.core.audit import Audit
from runstead.engines.sql.alerts import SqlAlerts
from runstead.engines.sql.artifact_tombstones import SqlArtifactTombstones
from runstead.engines.sql.audit import SqlAudit, SqlRecording
from runstead.engines.sql.browser_sessions import SqlBrowserSessions
from runstead.engines.sql.budgets import SqlBudgets
from runstead.engines.sql.bulk_jobs import SqlBulkJobs
from runstead.engines.sql.bus_events import SqlBusEvents
from runstead.engines.sql.concurrency import SqlConcurrency
from runstead.engines.sql.conversations import SqlConversations
from runstead.engines.sql.identity import SqlIdentity
from runstead.engines.sql.inputs import SqlInputs
from runstead.engines.sql.leadership import SqlLeadership
from runstead.engines.sql.prices import SqlPrices
from runstead.engines.sql.push_services import SqlPushServices
from runstead.engines.sql.quotas import SqlQuotas
from runstead.engines.sql.replicas import SqlReplicas
from runstead.engines.sql.saved_views import SqlSavedViews
from runstead.engines.sql.schedules import SqlSchedules
from runstead.engines.sql.secrets import SqlSecrets
from runstead.engines.sql.signing_keys import SqlSigningKeys
from runstead.engines.sql.statistics import SqlStatistics
from runstead.engines.sql.steps import Database, StoreDatabase, execute
from runstead.engines.sql.targets import SqlTargets
from runstead.engines.sql.triggers import SqlTriggers
from runstead.engines.sql.webhooks import SqlWebhooks
from runstead.engines.sql.workers import SqlWorkers


class SqlNouns:
    """A store has each of them as an attribute, beside the nouns of its own engine."""

    def open_nouns(
        self, database: StoreDatabase, leadership: Database, move_usage: Callable[..., Any]
    ) -> None:
        """`leadership`: the database as the leadership needs it (see `SqlLeadership`). `move_usage`: see
        `SqlConversations`.
        """
        self.alerts = SqlAlerts(database)
        self.artifact_tombstones = SqlArtifactTombstones(database)
        self.audit = SqlAudit(database)
        self.browser_sessions = SqlBrowserSessions(database)
        self.bulk_jobs = SqlBulkJobs(database)
        self.bus_events = SqlBusEvents(database)
        self.budgets = SqlBudgets(database)
        self.concurrency = SqlConcurrency(database)
        self.conversations = SqlConversations(database, move_usage)
        self.identity = SqlIdentity(database)
        self.inputs = SqlInputs(database)
        self.leadership = SqlLeadership(leadership)
        self.prices = SqlPrices(database)
        self.push_services = SqlPushServices(database)
        self.quotas = SqlQuotas(database)
        self.replicas = SqlReplicas(database)
        self.saved_views = SqlSavedViews(database)
        self.schedules = SqlSchedules(database)
        self.secrets = SqlSecrets(database)
        self.signing_keys = SqlSigningKeys(database)
        self.statistics = SqlStatistics(database)
        self.targets = SqlTargets(database)
        self.triggers = SqlTriggers(database)
        self.webhooks = SqlWebhooks(database)
        self.workers = SqlWorkers(database)
        self._database = database

    def recording(self, audit: Audit) -> SqlRecording:
        """Return nouns whose changes are recorded in the audit log."""
        return SqlRecording(self._database, audit)

    async def forget(self, age_ms: int, limit: int) -> int:
        """Delete at most `limit` idempotency records that are older than `age_ms`, and return their number."""
        return await self._database.write(
            lambda now: execute("forget_idempotency_records", before=now - age_ms, limit=limit)
        )
