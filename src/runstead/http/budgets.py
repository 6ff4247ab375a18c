"""Budgets: `/projects/{project}/budgets…`, and those that count a run."""

from typing import Annotated, Any

import msgspec

from runstead.commands import budgets as commands
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.budgets import budget as rules
from runstead.core.budgets.budget import OnReached, Period, ScopeKind, StoredScope
from runstead.core.clock import iso, iso_or_none
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal
from runstead.http.answers import answer_of
from runstead.http.arguments import named, on_run, scoped
from runstead.http.bounds import line
from runstead.http.budget_bodies import AlertAt, BudgetLimit, limit_members
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Name
from runstead.http.framework.views import Timestamp, view_of
from runstead.http.runs import MISSING, InProject
from runstead.ports.store import BudgetState

routes = Routes("Budgets")

_BUDGETS = "/projects/{project}/budgets"
_BUDGET = _BUDGETS + "/{budget_id}"


class BudgetScope(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that a budget counts.

    `value`: of target `task:report`, of key the id of the key or user that created the runs, of schedule its id, of
    label `name:value`. The scope project has none.
    """

    kind: ScopeKind
    value: Annotated[str, line(limits.label_key_chars_max + 1 + limits.label_value_chars_max)] | None = None


class CreateBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget to create. Days and months are those of UTC. `run_family` counts each root run with its descendants."""

    scope: BudgetScope
    period: Period
    limit: BudgetLimit
    on_reached: OnReached
    alert_at_percent: AlertAt = limits.budget_alert_percent_default
    name: Name | None = None


class UpdateBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out are not changed. `limit` replaces cost and tokens together."""

    limit: BudgetLimit | None = None
    on_reached: OnReached | None = None
    alert_at_percent: AlertAt | None = None
    name: Name | None = None


class Amounts(msgspec.Struct, frozen=True):
    """Cost as a decimal in the project's currency, and tokens. Null: no limit of that kind."""

    cost: str | None
    tokens: int | None


class ScopeView(msgspec.Struct, frozen=True):
    """`run`: the budget was given when that run was created, and counts it with its descendants."""

    kind: StoredScope
    value: str | None


class SpendingView(msgspec.Struct, frozen=True):
    """What was spent in a period. `limit` includes what approvals added to this period.

    `starts_at` and `ends_at` are null for families. `alerted_at`, `reached_at`: since when the alert's percentage and
    the limit are reached.
    """

    starts_at: Timestamp | None
    ends_at: Timestamp | None
    spent: Amounts
    limit: Amounts
    percent: int
    reached: bool
    alerted_at: Timestamp | None
    reached_at: Timestamp | None


class BudgetView(msgspec.Struct, frozen=True):
    """A budget. `current` is the period of now, null for a `run_family` budget where no run is asked for."""

    id: str
    project_id: str
    name: str
    scope: ScopeView
    period: Period
    limit: Amounts
    on_reached: OnReached
    alert_at_percent: int
    current: SpendingView | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp


BudgetAnswer = answer_of("BudgetAnswer", budget=BudgetView)
BudgetList = answer_of("BudgetList", data=list[BudgetView])
BudgetDeleted = answer_of("BudgetDeleted", deleted=bool)


def _amounts(tokens: int | None, micros: int | None) -> Amounts:
    return Amounts(None if micros is None else rules.format_micros(micros), tokens)


def view(state: BudgetState) -> BudgetView:
    """Build the view of a budget. The sums of a `run_family` budget are those of a run's family."""
    budget, spent = state
    current = None
    if budget.period != "run_family" or spent.family_seq:
        current = SpendingView(
            starts_at=iso(spent.starts_at) if spent.starts_at else None,
            ends_at=iso_or_none(rules.ends_at(budget.period, spent.starts_at)),
            spent=_amounts(spent.tokens, spent.cost_micros),
            limit=_amounts(*rules.bounds_of(budget, spent)),
            percent=rules.share(budget, spent),
            reached=rules.reached(budget, spent),
            alerted_at=iso_or_none(spent.alerted_at),
            reached_at=iso_or_none(spent.reached_at),
        )
    return view_of(
        BudgetView,
        budget,
        scope=ScopeView(budget.scope_kind, budget.scope_value),
        limit=_amounts(budget.limit_tokens, budget.limit_micros),
        current=current,
    )


def members(body: CreateBudget | UpdateBudget) -> dict[str, Any]:
    """Return the members of the record that the body sets."""
    plain = ("name", "alert_at_percent", *(("on_reached",) if isinstance(body, UpdateBudget) else ()))
    found = {name: value for name in plain if (value := getattr(body, name)) is not None}
    return found if body.limit is None else found | limit_members(body.limit)


async def create_of(
    app: App, principal: Principal, ref: str, body: CreateBudget, idempotency: IdempotencyRecord | None
) -> BudgetState:
    """Create the budget that a body or a form describes. Ids are compared in lower case."""
    kind, value = body.scope.kind, body.scope.value
    return await commands.create(
        app,
        principal,
        ref,
        scope_kind=kind,
        scope_value=value.lower() if value is not None and kind in ("key", "schedule") else value,
        period=body.period,
        on_reached=body.on_reached,
        members=members(body),
        idempotency=idempotency,
    )


@routes.route(
    "POST",
    _BUDGETS,
    body=CreateBudget,
    answer=BudgetAnswer,
    status=201,
    errors=(*CHANGE, "BUDGET_LIMIT_REACHED"),
    location="/projects/{budget.project_id}/budgets/{budget.id}",
)
async def create(call: Call[CreateBudget, Nothing]) -> Reply:
    """Create a budget. It begins at zero, and counts usage that is stored from then on."""
    return await call.idempotent(
        lambda record: create_of(*scoped(call), call.body, record),
        lambda made: Reply(201, BudgetAnswer(view(made))),
    )


@routes.route("GET", _BUDGETS, answer=BudgetList, errors=LOOKUP)
async def page(call: Call[Nothing, Nothing]) -> Reply:
    """List the project's budgets with what was spent of them, oldest first. Budgets of runs are not listed."""
    found = await commands.page(*scoped(call))
    return Reply(200, BudgetList([view(state) for state in found]))


@routes.route("GET", _BUDGET, answer=BudgetView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a budget with what was spent of it."""
    return Reply(200, view(await commands.get(*named(call))))


@routes.route("PATCH", _BUDGET, body=UpdateBudget, answer=BudgetAnswer, errors=CHANGE)
async def change(call: Call[UpdateBudget, Nothing]) -> Reply:
    """Change a budget. Runs that wait for it continue if its limit is not reached any more."""
    body = call.body
    return await call.idempotent(
        lambda record: commands.change(*named(call), members(body), record),
        lambda state: Reply(200, BudgetAnswer(view(state))),
    )


@routes.route("DELETE", _BUDGET, answer=BudgetDeleted, errors=CHANGE)
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a budget. Runs that wait for it continue."""
    await commands.delete(*named(call))
    return Reply(200, BudgetDeleted(deleted=True))


@routes.route("GET", "/runs/{run_id}/budgets", query=InProject, answer=BudgetList, errors=MISSING)
async def of_run(call: Call[Nothing, InProject]) -> Reply:
    """List the budgets that count a run, with what was spent of them."""
    found = await commands.of_run(*on_run(call))
    return Reply(200, BudgetList([view(state) for state in found]))
