"""Limits of budgets, in bodies that create a budget or a run."""

from typing import Annotated, Any

import msgspec

from runstead.commands.budgets import RunBudget
from runstead.core import limits
from runstead.core.budgets.budget import OnReached, parse_micros
from runstead.http.bounds import between, text
from runstead.http.framework.values import COST

Cost = Annotated[
    str,
    text(
        20,
        "An amount in the currency of the project's prices, as text with at most 6 places: 2.50.",
        pattern=COST,
    ),
]
AlertAt = Annotated[
    int, between(1, 100, "The percentage of the limit at which webhooks receive `budget.alert`.")
]


class BudgetLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be spent: `cost`, `tokens` (input and output) or both. The first one that is reached counts."""

    cost: Cost | None = None
    tokens: Annotated[int, between(1, limits.budget_tokens_max)] | None = None


class BudgetOfRun(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of the new run and all its descendants."""

    limit: BudgetLimit
    on_reached: OnReached = "pause"
    alert_at_percent: AlertAt = limits.budget_alert_percent_default


def limit_members(limit: BudgetLimit) -> dict[str, Any]:
    """Return the members of the record that a limit sets."""
    cost = limit.cost
    return {
        "limit_tokens": limit.tokens,
        "limit_micros": None if cost is None else parse_micros(cost, "limit.cost"),
    }


def budget_of_run(body: BudgetOfRun | None) -> RunBudget | None:
    if body is None:
        return None
    return RunBudget(
        on_reached=body.on_reached, alert_at_percent=body.alert_at_percent, **limit_members(body.limit)
    )
