"""The memory engine, put together."""

from collections.abc import Callable
from typing import Any

from runstead.core.clock import now_ms
from runstead.engines.memory.artifact_tombstones import MemoryArtifactTombstones
from runstead.engines.memory.batches import MemoryBatches
from runstead.engines.memory.browser_sessions import MemoryBrowserSessions
from runstead.engines.memory.concurrency import MemoryConcurrency
from runstead.engines.memory.conversations import MemoryConversations
from runstead.engines.memory.identity import MemoryIdentity
from runstead.engines.memory.inputs import MemoryInputs
from runstead.engines.memory.integrity import MemoryIntegrity
from runstead.engines.memory.journal import Journal
from runstead.engines.memory.leadership import MemoryLeadership
from runstead.engines.memory.prices import MemoryPrices
from runstead.engines.memory.push_services import MemoryPushServices, MemorySigningKeys
from runstead.engines.memory.replicas import MemoryReplicas, MemoryStatistics
from runstead.engines.memory.retention import MemoryRetention
from runstead.engines.memory.rollups import MemoryRollups
from runstead.engines.memory.rows import Rows
from runstead.engines.memory.run_index import MemoryRunIndex
from runstead.engines.memory.runs import MemoryRuns
from runstead.engines.memory.schedules import MemorySchedules
from runstead.engines.memory.triggers import MemoryTriggers
from runstead.engines.memory.webhooks import MemoryWebhooks
from runstead.engines.memory.workers import MemoryWorkers


class MemoryStore:
    """See `runstead.ports.store.Store`."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._journal = Journal(clock)
        rows = Rows()
        self.push_services = MemoryPushServices(self._journal)
        self.signing_keys = MemorySigningKeys(self._journal)
        self.leadership = MemoryLeadership(self._journal)
        self.concurrency = MemoryConcurrency(self._journal, rows)
        self.browser_sessions = MemoryBrowserSessions(self._journal)
        self.prices = MemoryPrices(self._journal)
        self.replicas = MemoryReplicas(self._journal)
        self.statistics = MemoryStatistics(self._journal, rows)
        self.artifact_tombstones = MemoryArtifactTombstones(self._journal, rows)
        self.runs = MemoryRuns(self._journal, rows, self.push_services, self.concurrency)
        self.identity = MemoryIdentity(self._journal)
        self.workers = MemoryWorkers(self._journal, rows)
        self.conversations = MemoryConversations(self._journal, rows)
        self.inputs = MemoryInputs(rows)
        self.schedules = MemorySchedules(self._journal, rows.schedules)
        self.webhooks = MemoryWebhooks(self._journal, rows)
        self.triggers = MemoryTriggers(self._journal)
        self.batches = MemoryBatches(self._journal, rows, self.runs)
        self.integrity = MemoryIntegrity(rows)
        self.retention = MemoryRetention(self._journal, rows)
        self.run_index = MemoryRunIndex()
        self.rollups = MemoryRollups(self._journal, rows)

    async def open(self) -> None:
        pass

    async def migrate(self) -> list[str]:
        return []

    async def pending(self) -> list[str]:
        return []

    async def close(self) -> None:
        pass

    async def check(self) -> dict[str, Any]:
        self._journal.write(None, lambda _: (None, lambda: None))
        return self.facts()

    @property
    def address(self) -> str:
        return "memory"

    def facts(self) -> dict[str, Any]:
        commits = self._journal.commits
        return {"engine": "memory", "queue_depth": 0, "commits": commits, "commands": commits}

    async def forget(self, age_ms: int, limit: int) -> int:
        return self._journal.forget(age_ms, limit)
