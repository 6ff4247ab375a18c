"""Limits on running runs, in memory."""

from collections.abc import Sequence

from runstead.core import limits as bounds
from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy
from runstead.ports.store import Concurrency
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows


class ModelConcurrency(Concurrency):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows
        self._limits: dict[str, tuple[ConcurrencyLimit, ...]] = {}

    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        kept = tuple(sorted(limits, key=lambda one: one.target or ""))

        def plan(_: int) -> tuple[None, Effect]:
            return None, lambda: self._limits.update({project_id: kept})

        self._journal.write(None, plan)
        return self._occupancies(project_id)

    async def of(self, project_id: str) -> list[Occupancy]:
        return self._occupancies(project_id)

    def _occupancies(self, project_id: str) -> list[Occupancy]:
        running = [run for run in self._rows.runs.values() if run.project_id == project_id and run.occupies]
        return [
            Occupancy(
                limit,
                min(
                    sum(limit.target in (None, run.target) for run in running),
                    bounds.running_counted_max,
                ),
            )
            for limit in self._limits.get(project_id, ())
        ]

    def slots(self, project_id: str) -> ConcurrencySlots:
        """What the limits of a project leave."""
        return ConcurrencySlots.from_occupancies(project_id, self._occupancies(project_id))
