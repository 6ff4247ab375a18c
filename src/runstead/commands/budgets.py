"""Budgets of a project, and those of runs. Reading needs the scope runs:read, changing needs admin."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from runstead.commands import runs
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.commands.runs import RunRef, apply_at
from runstead.core import limits
from runstead.core.budgets import budget as rules
from runstead.core.budgets.budget import Budget, OnReached, Period, ScopeKind
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import SPENDING
from runstead.ports.notifier import BUDGETS_KEY
from runstead.ports.store import BudgetState


class RunBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The budget of a new run and its descendants."""

    limit_tokens: int | None = None
    limit_micros: int | None = None
    on_reached: OnReached = "pause"
    alert_at_percent: int = limits.budget_alert_percent_default

    def of(self, run: Run) -> Budget:
        """Return the record. INVALID_REQUEST without a limit."""
        budget = Budget(
            id=str(uuid.uuid4()),
            project_id=run.project_id,
            name=f"run {run.run_id}",
            scope_kind="run",
            scope_value=run.run_id,
            period="run_family",
            created_by=run.created_by,
            **msgspec.structs.asdict(self),
        )
        rules.check(budget, "budget.")
        return budget


_BOUND: Final = "cannot manage budgets"


@needs(Scope.ADMIN, bound=_BOUND, records="budget.create")
async def create(
    access: Access,
    *,
    scope_kind: ScopeKind,
    scope_value: str | None,
    period: Period,
    on_reached: OnReached,
    members: Mapping[str, Any],
    idempotency: Idempotency = None,
) -> BudgetState:
    """Create a budget of the project. Raises INVALID_REQUEST, NOT_FOUND, BUDGET_LIMIT_REACHED."""
    defaults = {"name": rules.default_name(scope_kind, scope_value, period)}
    budget = Budget(
        id=str(uuid.uuid4()),
        project_id=access.project_id,
        scope_kind=scope_kind,
        scope_value=scope_value,
        period=period,
        on_reached=on_reached,
        created_by=access.user,
        **(defaults | dict(members)),
    )
    rules.check(budget)
    guard = at_most(limits.budgets_per_project_max, "budgets", "BUDGET_LIMIT_REACHED")
    return await access.recording.budgets.create(budget, guard, idempotency)


@needs(Scope.RUNS_READ, bound=_BOUND)
async def page(access: Access) -> list[BudgetState]:
    """List the budgets of a project, oldest first, without those of runs."""
    return await access.store.budgets.page(access.project_id)


@needs(Scope.RUNS_READ, bound=_BOUND)
async def get(access: Access, budget_id: str) -> BudgetState:
    """Return a budget, also that of a run. Raises NOT_FOUND."""
    return existing(await access.store.budgets.get(access.project_id, budget_id), "Budget")


async def of_run(app: App, principal: Principal, run_ref: RunRef) -> list[BudgetState]:
    """Return the budgets that count a run. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    refuse_bound(principal, "cannot read budgets")
    return await app.store.budgets.of_run(run)


@needs(Scope.ADMIN, bound=_BOUND, records="budget.change")
async def change(
    access: Access, budget_id: str, members: Mapping[str, Any], idempotency: Idempotency = None
) -> BudgetState:
    """Change these members. Runs that wait for the budget continue if it is not reached any more.

    Raises INVALID_REQUEST, NOT_FOUND.
    """
    changed = await access.recording.budgets.change(
        access.project_id, budget_id, lambda budget, now: rules.changed(budget, members, now), idempotency
    )
    access.app.notifier.publish((BUDGETS_KEY,))
    return changed


@needs(Scope.ADMIN, bound=_BOUND, records="budget.delete")
async def delete(access: Access, budget_id: str) -> None:
    """Delete a budget. Runs that wait for it continue. Raises NOT_FOUND."""
    if not await access.recording.budgets.delete(access.project_id, budget_id):
        raise not_found("Budget")
    access.app.notifier.publish((BUDGETS_KEY,))


async def settle_some(app: App) -> int:
    """Look at runs that wait for budgets which were raised, changed or deleted: a bounded number of each.

    Each run is its own transaction, and a budget is done when all were looked at, so that a crash loses none. Returns
    how many budgets have more.
    """
    more = 0
    for budget in await app.store.budgets.with_attention(limits.budgets_per_tick_max):
        more += not await _settle(app, budget)
    return more * limits.budgets_per_tick_max


async def _settle(app: App, budget: Budget) -> bool:
    """Whether all runs that wait for the budget were looked at."""
    page = await app.store.budgets.waiting(budget.id, 0, limits.budget_waits_per_tick_max)
    settled = 0
    while page.runs or page.after is not None:
        for each in page.runs:
            try:
                written = await apply_at(
                    app,
                    each.key,
                    lambda run, loaded: transitions.settle(
                        run, now=loaded.now, budget_id=budget.id, spending=loaded.spending
                    ),
                    SPENDING,
                )
            except Error as error:
                if error.code != "NOT_FOUND":  # deleted meanwhile
                    raise
            else:
                settled += written.transition.accepted
        if page.after is None:
            break
        if settled >= limits.budget_waits_per_tick_max:
            return False
        page = await app.store.budgets.waiting(budget.id, page.after, limits.budget_waits_per_tick_max)
    await app.store.budgets.settled(budget)
    return True
