"""Budgets."""

from datetime import datetime

from runstead.sdk.models.response import ResponseModel


class Amounts(ResponseModel, frozen=True, kw_only=True):
    """Cost as a decimal in the project's currency ("2.50"), and tokens. In a limit, None is no bound."""

    cost: str | None = None
    tokens: int | None = None


class BudgetScope(ResponseModel, frozen=True, kw_only=True):
    """The runs that a budget counts: project, target, key, schedule, label; `run`: a run with its descendants."""

    kind: str
    value: str | None = None


class BudgetSpending(ResponseModel, frozen=True, kw_only=True):
    """What was spent in a period. `limit` includes what approvals added. A family's period has no start and no end."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None
    spent: Amounts
    limit: Amounts
    percent: int
    reached: bool
    alerted_at: datetime | None = None
    reached_at: datetime | None = None


class Budget(ResponseModel, frozen=True, kw_only=True):
    """A budget. `current` is its present period; None for a budget of families, where no run was asked for."""

    id: str
    project_id: str
    name: str
    scope: BudgetScope
    period: str
    limit: Amounts
    on_reached: str
    alert_at_percent: int = 0
    current: BudgetSpending | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class BudgetAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored budget."""

    budget: Budget


class BudgetList(ResponseModel, frozen=True, kw_only=True):
    """The budgets of a project, or those that count a run."""

    data: list[Budget]
