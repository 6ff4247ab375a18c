"""The budgets of one transaction: locked and loaded before its commands are decided, written after."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from runstead.core.budgets.counting import Ledger, Spending
from runstead.core.runs.run import Run
from runstead.core.runs.write_set import WriteSet
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.sql.budgets import load_ledger, store_spent
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import LockSpace, execute_many, lock


async def lock_budgets(connection: Connection, project_ids: Iterable[str]) -> None:
    """Wait for the transactions that count usage in these projects, and hold off later ones until the end of this one."""
    if names := sorted(project_ids):
        await DRIVER.run(connection, lock(LockSpace.BUDGETS, names))


class Ledgers:
    """The budgets and rates of tokens of the runs of a transaction, by project. Empty in projects without any."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    async def load(
        self, connection: Connection, runs: Iterable[Run], now: int, rated: Collection[str] = ()
    ) -> None:
        """`rated`: the projects whose rates of tokens are loaded too."""
        by_project: dict[str, dict[int, Run]] = defaultdict(dict)
        for run in runs:
            by_project[run.project_id][run.seq] = run
        for project_id, found in by_project.items():
            self._ledgers[project_id] = await DRIVER.run(
                connection, load_ledger(project_id, list(found.values()), now, rated=project_id in rated)
            )

    def of(self, run: Run) -> Spending | None:
        ledger = self._ledgers.get(run.project_id)
        return None if ledger is None else ledger.of(run.seq)

    def ledger(self, project_id: str) -> Ledger | None:
        return self._ledgers.get(project_id)

    def take(self, writes: Iterable[WriteSet]) -> None:
        for write in writes:
            ledger = self._ledgers.get(write.run.project_id)
            if write.spent is not None and ledger is not None:
                ledger.take(write.spent)


async def write_budgets(connection: Connection, writes: Sequence[WriteSet]) -> None:
    """Store what the write sets change in budgets and rates of tokens, in their order."""
    new = [fields(write.budget) for write in writes if write.budget is not None]
    if new:
        await DRIVER.run(connection, execute_many("add_budget", new))
    by_project: dict[str, list[WriteSet]] = defaultdict(list)
    for write in writes:
        if write.spent is not None:
            by_project[write.run.project_id].append(write)
    for project_id, found in sorted(by_project.items()):
        spent = [write.spent for write in found if write.spent is not None]
        await DRIVER.run(connection, store_spent(project_id, spent, found[-1].now))
