"""Budgets of a project, and those of runs. Reading needs the scope runs:read, changing needs admin."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.commands.runs import RunRef, apply_at
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.budgets import budget as rules
from runstead.core.budgets.budget import Budget, OnReached, Period, ScopeKind
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.identity.project import user_uuid
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


async def _project(app: App, principal: Principal, ref: str, scope: Scope) -> str:
    return (await locate.project(app, principal, scope, ref, bound="cannot manage budgets")).id


async def create(
    app: App,
    principal: Principal,
    ref: str,
    *,
    scope_kind: ScopeKind,
    scope_value: str | None,
    period: Period,
    on_reached: OnReached,
    members: Mapping[str, Any],
    idempotency: Idempotency = None,
) -> BudgetState:
    """Create a budget of the project. Raises INVALID_REQUEST, NOT_FOUND, BUDGET_LIMIT_REACHED."""
    project_id = await _project(app, principal, ref, Scope.ADMIN)
    defaults = {"name": rules.default_name(scope_kind, scope_value, period)}
    budget = Budget(
        id=str(uuid.uuid4()),
        project_id=project_id,
        scope_kind=scope_kind,
        scope_value=scope_value,
        period=period,
        on_reached=on_reached,
        created_by=user_uuid(principal.id),
        **(defaults | dict(members)),
    )
    rules.check(budget)
    recording = app.store.recording(by(principal, "budget.create", project_id))
    guard = at_most(limits.budgets_per_project_max, "budgets", "BUDGET_LIMIT_REACHED")
    return await recording.budgets.create(budget, guard, idempotency)


async def page(app: App, principal: Principal, ref: str) -> list[BudgetState]:
    """List the budgets of a project, oldest first, without those of runs."""
    return await app.store.budgets.page(await _project(app, principal, ref, Scope.RUNS_READ))


async def get(app: App, principal: Principal, ref: str, budget_id: str) -> BudgetState:
    """Return a budget, also that of a run. Raises NOT_FOUND."""
    return existing(
        await app.store.budgets.get(await _project(app, principal, ref, Scope.RUNS_READ), budget_id), "Budget"
    )


async def of_run(app: App, principal: Principal, run_ref: RunRef) -> list[BudgetState]:
    """Return the budgets that count a run. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    refuse_bound(principal, "cannot read budgets")
    return await app.store.budgets.of_run(run)


async def change(
    app: App,
    principal: Principal,
    ref: str,
    budget_id: str,
    members: Mapping[str, Any],
    idempotency: Idempotency = None,
) -> BudgetState:
    """Change these members. Runs that wait for the budget continue if it is not reached any more.

    Raises INVALID_REQUEST, NOT_FOUND.
    """
    project_id = await _project(app, principal, ref, Scope.ADMIN)
    recording = app.store.recording(by(principal, "budget.change", project_id))
    changed = await recording.budgets.change(
        project_id, budget_id, lambda budget, now: rules.changed(budget, members, now), idempotency
    )
    app.notifier.publish((BUDGETS_KEY,))
    return changed


async def delete(app: App, principal: Principal, ref: str, budget_id: str) -> None:
    """Delete a budget. Runs that wait for it continue. Raises NOT_FOUND."""
    project_id = await _project(app, principal, ref, Scope.ADMIN)
    if not await app.store.recording(by(principal, "budget.delete", project_id)).budgets.delete(
        project_id, budget_id
    ):
        raise not_found("Budget")
    app.notifier.publish((BUDGETS_KEY,))


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
