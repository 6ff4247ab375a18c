"""The memory engine, put together."""

from collections.abc import Callable
from typing import Any

from runstead.core.clock import now_ms
from tests.support.model.batches import ModelBatches
from tests.support.model.concurrency import ModelConcurrency
from tests.support.model.conversations import ModelConversations
from tests.support.model.identity import ModelIdentity
from tests.support.model.inputs import ModelInputs
from tests.support.model.integrity import ModelIntegrity
from tests.support.model.journal import Journal
from tests.support.model.push_services import ModelPushServices
from tests.support.model.retention import ModelRetention
from tests.support.model.rollups import ModelRollups
from tests.support.model.rows import Rows
from tests.support.model.run_index import ModelRunIndex
from tests.support.model.runs import ModelRuns
from tests.support.model.schedules import ModelSchedules
from tests.support.model.webhooks import ModelWebhooks
from tests.support.model.workers import ModelWorkers


class ModelStore:
    """See `runstead.ports.store.Store`."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._journal = Journal(clock)
        rows = Rows()
        self.push_services = ModelPushServices(self._journal)
        self.concurrency = ModelConcurrency(self._journal, rows)
        self.runs = ModelRuns(self._journal, rows, self.push_services, self.concurrency)
        self.identity = ModelIdentity(self._journal)
        self.workers = ModelWorkers(self._journal, rows)
        self.conversations = ModelConversations(self._journal, rows)
        self.inputs = ModelInputs(rows)
        self.schedules = ModelSchedules(self._journal, rows.schedules)
        self.webhooks = ModelWebhooks(self._journal, rows)
        self.batches = ModelBatches(self._journal, rows, self.runs)
        self.integrity = ModelIntegrity(rows)
        self.retention = ModelRetention(self._journal, rows)
        self.run_index = ModelRunIndex()
        self.rollups = ModelRollups(self._journal, rows)

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

    def expected_wait_s(self) -> float:
        return 0.0

    async def forget(self, age_ms: int, limit: int) -> int:
        return self._journal.forget(age_ms, limit)
