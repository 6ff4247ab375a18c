"""The nouns of a store that both engines share."""

from collections.abc import Callable
from typing import Any

from runstead.core.audit import Audit
from runstead.engines.sql.alerts import SqlAlerts
from runstead.engines.sql.artifact_tombstones import SqlArtifactTombstones
from runstead.engines.sql.audit import RecordingDatabase, SqlAudit
from runstead.engines.sql.batches import SqlBatches
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
from runstead.engines.sql.steps import Database, Session, execute
from runstead.engines.sql.targets import SqlTargets
from runstead.engines.sql.triggers import SqlTriggers
from runstead.engines.sql.webhooks import SqlWebhooks
from runstead.engines.sql.workers import SqlWorkers
from runstead.ports.store import BatchChanges, Batches, Recording, Store


class SqlRecording(Recording):
    def __init__(self, database: Database) -> None:
        self.alerts = SqlAlerts(database)
        self.batches: BatchChanges = SqlBatches(database)
        self.browser_sessions = SqlBrowserSessions(database)
        self.budgets = SqlBudgets(database)
        self.bulk_jobs = SqlBulkJobs(database)
        self.concurrency = SqlConcurrency(database)
        self.identity = SqlIdentity(database)
        self.prices = SqlPrices(database)
        self.push_services = SqlPushServices(database)
        self.quotas = SqlQuotas(database)
        self.schedules = SqlSchedules(database)
        self.triggers = SqlTriggers(database)
        self.webhooks = SqlWebhooks(database)
        self.workers = SqlWorkers(database)


class SqlNouns(SqlRecording, Store):
    """A store has each of them as an attribute, beside the nouns of its own engine."""

    batches: Batches

    def open_nouns(self, database: Database, leadership: Session, move_usage: Callable[..., Any]) -> None:
        """`leadership`: the database as the leadership needs it (see `SqlLeadership`). `move_usage`: see
        `SqlConversations`.
        """
        super().__init__(database)
        self.artifact_tombstones = SqlArtifactTombstones(database)
        self.audit = SqlAudit(database)
        self.bus_events = SqlBusEvents(database)
        self.inputs = SqlInputs(database)
        self.replicas = SqlReplicas(database)
        self.saved_views = SqlSavedViews(database)
        self.secrets = SqlSecrets(database)
        self.signing_keys = SqlSigningKeys(database)
        self.statistics = SqlStatistics(database)
        self.targets = SqlTargets(database)
        self.conversations = SqlConversations(database, move_usage)
        self.leadership = SqlLeadership(leadership)
        self._database = database

    def recording(self, audit: Audit) -> Recording:
        return SqlRecording(RecordingDatabase(self._database, audit))

    async def forget(self, age_ms: int, limit: int) -> int:
        return await self._database.write(
            lambda now: execute("forget_idempotency_records", before=now - age_ms, limit=limit)
        )
