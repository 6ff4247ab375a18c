"""The servers of the store, and what is queued, in memory."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.replica import Replica
from runstead.core.runs.run import RunStatus
from runstead.engines.memory.journal import Effect, Journal
from runstead.engines.memory.rows import Rows
from runstead.ports.store import Depth, Replicas, Statistics

_silence_ms = limits.replica_silence_s * 1000


class MemoryReplicas(Replicas):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._replicas: dict[str, Replica] = {}

    async def note(self, replica: Replica) -> Replica:
        def plan(now: int) -> tuple[Replica, Effect]:
            known = self._replicas.get(replica.id, replace(replica, started_at=now))
            seen = replace(replica, started_at=known.started_at, seen_at=now)
            kept = {one.id: one for one in self._replicas.values() if one.seen_at > now - _silence_ms}

            def keep() -> None:
                self._replicas = kept | {seen.id: seen}

            return seen, keep

        return self._journal.write(None, plan)

    async def all(self) -> list[Replica]:
        since = self._journal.now() - _silence_ms
        found = [one for one in self._replicas.values() if one.seen_at > since]
        return sorted(found, key=lambda one: (one.started_at, one.id))

    async def leave(self, replica_id: str) -> None:
        self._journal.write(None, lambda _: (None, lambda: self._replicas.pop(replica_id, None)))


class MemoryStatistics(Statistics):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows

    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        return [self._depth(project_id, most) for project_id in project_ids]

    def _depth(self, project_id: str, most: int) -> Depth:
        now = self._journal.now()
        runs = [run for run in self._rows.runs.values() if run.project_id == project_id]
        queued = list(islice((run.available_at for run in runs if run.available_at is not None), most))
        available = sum(at <= now for at in queued)
        running, waiting = (
            min(most, sum(run.status is status for run in runs))
            for status in (RunStatus.RUNNING, RunStatus.WAITING)
        )
        return Depth(project_id, available, len(queued) - available, running, waiting)
