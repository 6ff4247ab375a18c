"""Deleted runs whose artifacts are still to be removed, in memory."""

from collections.abc import Sequence

from runstead.engines.memory.journal import Journal
from runstead.engines.memory.rows import Rows
from runstead.ports.store import ArtifactTombstones


class MemoryArtifactTombstones(ArtifactTombstones):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows

    async def some(self, limit: int) -> list[str]:
        return list(self._rows.artifact_tombstones)[:limit]

    async def drop(self, uids: Sequence[str]) -> None:
        def forget() -> None:
            for uid in uids:
                self._rows.artifact_tombstones.pop(uid, None)

        self._journal.write(None, lambda _: (None, forget))
