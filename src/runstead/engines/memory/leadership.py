"""The lead in memory."""

from runstead.core.leadership import Lead, elect, resign, unexpired
from runstead.engines.memory.journal import Journal
from runstead.ports.store import Leadership


class MemoryLeadership(Leadership):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held = Lead()

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        self._held = elect(self._held, owner, lease_ms, self._journal.clock())
        return self._held

    async def held(self) -> Lead:
        return unexpired(self._held, self._journal.clock())

    async def resign(self, owner: str) -> None:
        self._held = resign(self._held, owner)
