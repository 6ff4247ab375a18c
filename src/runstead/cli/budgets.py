"""`runstead budgets …`: what runs may spend, and answers to runs that a budget stopped."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.options import RunId
from runstead.cli.shared.render import Column

if TYPE_CHECKING:
    from runstead.sdk.models.budget import Amounts, Budget

BudgetId = Annotated[str, Parameter(help="The budget's id")]
Scope = Literal["project", "target", "key", "schedule", "label"]
Period = Literal["run_family", "day", "month"]
OnReached = Literal["pause", "fail", "cancel", "alert"]

budgets = App(name="budgets", help="Budgets: what runs may spend, in money or tokens.")


@command(budgets, "list", project=True)
def list_budgets(client: Client) -> Output:
    """List a project's budgets with what was spent of them."""
    return _listed(client.budgets.list().data)


@command(budgets, "of")
def budgets_of_run(client: Client, run_id: RunId, /) -> Output:
    """List the budgets that count a run, with what was spent of them."""
    return _listed(client.budgets.of_run(run_id).data)


def _listed(found: "list[Budget]") -> Output:
    columns: list[Column[Budget]] = [
        Column("BUDGET", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("NAME", lambda one: one.name, drop_rank=4),
        Column("SCOPE", lambda one: " ".join(filter(None, (one.scope.kind, one.scope.value))), drop_rank=3),
        Column("PERIOD", lambda one: one.period, drop_rank=5),
        Column(
            "SPENT",
            lambda one: "" if one.current is None else _amounts(one.current.spent, one.limit),
            number=True,
        ),
        Column(
            "LIMIT",
            lambda one: _amounts(one.limit if one.current is None else one.current.limit),
            drop_rank=1,
            number=True,
        ),
        Column("THEN", lambda one: one.on_reached, drop_rank=2),
    ]
    return listed(found, columns, "budgets")


def _status(one: "Budget") -> str:
    if one.current is None:
        return ""
    return "reached" if one.current.reached else f"{one.current.percent} %"


def _amounts(amounts: "Amounts", limit: "Amounts | None" = None) -> str:
    """Cost and tokens, of those that the limit has."""
    limit = limit or amounts
    parts = [] if limit.cost is None else [amounts.cost or "0.00"]
    parts += [] if limit.tokens is None else [f"{amounts.tokens or 0:,} tokens"]
    return ", ".join(parts)


@command(budgets, "create", project=True)
def create_budget(
    client: Client,
    scope: Annotated[Scope, "What the budget counts"],
    value: Annotated[str | None, "A target, the id of a key or schedule, or name:value of a label"] = None,
    /,
    *,
    period: Annotated[Period, "Days and months are in UTC"] = "day",
    cost: Annotated[str | None, "In the currency of the prices, such as 25.00"] = None,
    tokens: Annotated[int | None, "Input and output tokens"] = None,
    then: Annotated[OnReached, "What happens to runs when it is reached"] = "pause",
    alert_at: Annotated[int | None, "Percent at which webhooks are notified, else 80"] = None,
    name: Annotated[str | None, "A name for people"] = None,
) -> Output:
    """Create a budget and print its id."""
    made = client.budgets.create(
        scope,
        value,
        period=period,
        on_reached=then,
        cost=cost,
        tokens=tokens,
        alert_at_percent=alert_at,
        name=name,
    ).budget
    return one_line(made, made.id)


@command(budgets, "update", project=True)
def update_budget(
    client: Client,
    budget_id: BudgetId,
    /,
    *,
    cost: Annotated[str | None, "The new limit, with --tokens if it has both"] = None,
    tokens: Annotated[int | None, "The new limit of tokens"] = None,
    then: Annotated[OnReached | None, "What happens to runs when it is reached"] = None,
    alert_at: Annotated[int | None, "Percent at which webhooks are notified"] = None,
    name: Annotated[str | None, "A name for people"] = None,
) -> Output:
    """Change a budget. Runs that wait for it continue if the new limit is not reached."""
    changed = client.budgets.update(
        budget_id, cost=cost, tokens=tokens, on_reached=then, alert_at_percent=alert_at, name=name
    ).budget
    return _listed([changed])


@command(budgets, "delete", project=True)
def delete_budget(client: Client, budget_id: BudgetId, /) -> Output:
    """Delete a budget. Runs that wait for it continue."""
    client.budgets.delete(budget_id)
    return one_line({"deleted": True, "id": budget_id}, f"{budget_id}  deleted")


@command(budgets, "approve")
def approve(
    client: Client,
    run_id: RunId,
    /,
    *,
    raise_cost: Annotated[str | None, "Raise the limit of this period by this cost"] = None,
    raise_tokens: Annotated[int | None, "Raise the limit of this period by these tokens"] = None,
) -> Output:
    """Let a run continue that a budget stopped. With --raise-… all runs that wait for the budget continue."""
    return one_line(client.budgets.approve(run_id, cost=raise_cost, tokens=raise_tokens), "approved")


@command(budgets, "stop")
def stop(client: Client, run_id: RunId, /) -> Output:
    """End a run that a budget stopped. It fails with BUDGET_REACHED."""
    return one_line(client.budgets.stop(run_id), "stopped")
