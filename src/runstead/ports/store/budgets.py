"""Budgets, and what was spent of them."""

from typing import NamedTuple, Protocol

from runstead.core.budgets.budget import Budget, BudgetSum
from runstead.core.idempotency import Idempotency
from runstead.core.runs.run import Run
from runstead.ports.store.project_records import Change, Count
from runstead.ports.store.runs import RunKey


class BudgetState(NamedTuple):
    """A budget with its sum of the period that `now` is in; that of a family for a budget of a run.

    The sum is zero for `run_family` budgets of the project, which have one for each family.
    """

    budget: Budget
    spent: BudgetSum


class WaitingRun(NamedTuple):
    """A run that waits for the approval of a budget."""

    seq: int
    key: RunKey


class WaitingPage(NamedTuple):
    """Runs that a budget stopped. `after`: the seq after which the next page begins; None: this is the last one."""

    runs: list[WaitingRun]
    after: int | None


class Budgets(Protocol):
    """Usage is counted by `Runs.apply` where its want `spends`. It loads the budgets of the run under a lock that other
    transactions of the project wait for, so that of two reports the second one sees what the first one spent.
    """

    async def create(self, budget: Budget, guard: Count, idempotency: Idempotency = None) -> BudgetState:
        """Store a budget of the project with the time of its creation. The guard gets the number of its budgets."""

    async def get(self, project_id: str, budget_id: str) -> BudgetState | None: ...

    async def page(self, project_id: str) -> list[BudgetState]:
        """Return the budgets of the project, oldest first, without those of runs."""

    async def of_run(self, run: Run) -> list[BudgetState]:
        """Return the budgets that count a run, with the sums that its usage would count for now."""

    async def given_to(self, run: Run) -> Budget | None:
        """Return the budget that was given when the run was created."""

    async def change(
        self, project_id: str, budget_id: str, decide: Change[Budget], idempotency: Idempotency = None
    ) -> BudgetState:
        """Change a budget under lock. NOT_FOUND."""

    async def delete(self, project_id: str, budget_id: str) -> bool:
        """Delete a budget. It is gone at once; its row stays until the runs that wait for it were looked at."""

    async def with_attention(self, limit: int) -> list[Budget]:
        """Return budgets whose waiting runs may have to continue or to end, longest first. Also deleted ones."""

    async def waiting(self, budget_id: str, after: int, limit: int) -> WaitingPage:
        """Return runs that wait for the budget, with a seq over `after`. At most `limit` rows are read."""

    async def settled(self, budget: Budget) -> None:
        """Record that all runs that wait for the budget were looked at, unless it changed meanwhile."""
