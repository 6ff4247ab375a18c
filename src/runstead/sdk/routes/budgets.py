"""Routes of budgets. Reading needs the scope `runs:read`, changing needs `admin`."""

from typing import Literal

from runstead.sdk.models.budget import Budget, BudgetAnswer, BudgetList
from runstead.sdk.models.run import Accepted
from runstead.sdk.routes.call import Call, idempotent, members, path
from runstead.sdk.routes.create import OnReached
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, route

BudgetScopeKind = Literal["project", "target", "key", "schedule", "label"]
BudgetPeriod = Literal["run_family", "day", "month"]


class Budgets(Resource[S_co]):
    """404 for a budget that is unknown or not visible to the caller.

    A cost is a decimal as text in the currency of the project's prices, such as "2.50". Tokens are input and output.
    """

    @route
    def create(
        self,
        scope: BudgetScopeKind,
        value: str | None = None,
        *,
        period: BudgetPeriod,
        on_reached: OnReached,
        cost: str | None = None,
        tokens: int | None = None,
        alert_at_percent: int | None = None,
        name: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[BudgetAnswer]:
        """`POST /projects/{ref}/budgets`: create a budget: `create("target", "task:report", period="day", …)`.

        `value` is a target, the id of a key, user or schedule, or `name:value` of a label. At least one of `cost` and
        `tokens` is the limit. `alert_at_percent` is 1 to 100 percent of it. 400 with `errors` for invalid values, 409
        BUDGET_LIMIT_REACHED.
        """
        body = members(
            scope=members(kind=scope, value=value),
            period=period,
            limit=members(cost=cost, tokens=tokens),
            on_reached=on_reached,
            alert_at_percent=alert_at_percent,
            name=name,
        )
        return idempotent(
            "POST", self._in_project(project, "budgets"), BudgetAnswer, body=body, key=idempotency_key
        )

    @endpoint("GET", "/projects/{ref}/budgets")
    def list(self, *, project: str | None = None) -> Call[BudgetList]:
        """The project's budgets with what was spent of them, oldest first."""

    @endpoint("GET", "/projects/{ref}/budgets/{budget_id}")
    def get(self, budget_id: str, *, project: str | None = None) -> Call[Budget]: ...

    @endpoint("GET", "/runs/{run_id}/budgets")
    def of_run(self, run_id: str) -> Call[BudgetList]:
        """The budgets that count a run, with what was spent of them."""

    @route
    def update(
        self,
        budget_id: str,
        *,
        cost: str | None = None,
        tokens: int | None = None,
        on_reached: OnReached | None = None,
        alert_at_percent: int | None = None,
        name: str | None = None,
        project: str | None = None,
    ) -> Call[BudgetAnswer]:
        """`PATCH /projects/{ref}/budgets/{id}`: change the members that are given. `cost` and `tokens` are the new limit.

        `alert_at_percent` is 1 to 100 percent. Runs that wait for the budget continue if the new limit is not reached.
        """
        body = members(
            limit=members(cost=cost, tokens=tokens) or None,
            on_reached=on_reached,
            alert_at_percent=alert_at_percent,
            name=name,
        )
        return idempotent("PATCH", self._in_project(project, "budgets", budget_id), BudgetAnswer, body=body)

    @endpoint("DELETE", "/projects/{ref}/budgets/{budget_id}")
    def delete(self, budget_id: str, *, project: str | None = None) -> Call[None]:
        """Delete the budget. Runs that wait for it continue."""

    @route
    def approve(self, run_id: str, *, cost: str | None = None, tokens: int | None = None) -> Call[Accepted]:
        """`POST /runs/{run_id}/resume`: let a run continue that a budget stopped.

        With `cost` or `tokens`, the limit of this period is raised by them for all runs, which needs the scope `admin`
        unless the budget was given to a run. Otherwise the budget does not stop this run again in this period.
        409 TOOL_RESULT_NOT_WAITING, 400 if the raised limit is still reached.
        """
        raised = members(cost=cost, tokens=tokens)
        result = {"approved": True, "raise_by": raised} if raised else True
        body = {"type": "approval", "result": result}
        return idempotent("POST", path("runs", run_id, "resume"), Accepted, body=body)

    @endpoint("POST", "/runs/{run_id}/resume", key="new", body={"type": "approval", "result": False})
    def stop(self, run_id: str) -> Call[Accepted]:
        """End a run that a budget stopped. It fails with BUDGET_REACHED."""
