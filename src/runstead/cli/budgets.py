"""`runstead budgets …`: what runs may spend, and answers to runs that a budget stopped."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson, RunId
from runstead.cli.shared.render import Column
from runstead.cli.shared.results import print_list, print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runstead.sdk.models.budget import Amounts, Budget

BudgetId = Annotated[str, Parameter(help="The budget's id")]
Scope = Literal["project", "target", "key", "schedule", "label"]
Period = Literal["run_family", "day", "month"]
OnReached = Literal["pause", "fail", "cancel", "alert"]

budgets = App(name="budgets", help="Budgets: what runs may spend, in money or tokens.")


@budgets.command(name="list")
def list_budgets(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's budgets with what was spent of them."""
    with connected(server, project=True) as client:
        _print(client.budgets.list().data, json=json)


@budgets.command(name="of")
def budgets_of_run(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List the budgets that count a run, with what was spent of them."""
    with connected(server) as client:
        _print(client.budgets.of_run(run_id).data, json=json)


def _print(found: "Sequence[Budget]", *, json: bool) -> None:
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
    print_list(list(found), columns, "budgets", json=json)


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


@budgets.command(name="create")
def create_budget(
    scope: Annotated[Scope, Parameter(help="What the budget counts")],
    value: Annotated[
        str | None, Parameter(help="A target, the id of a key or schedule, or name:value of a label")
    ] = None,
    /,
    *,
    period: Annotated[Period, Parameter(help="Days and months are in UTC")] = "day",
    cost: Annotated[str | None, Parameter(help="In the currency of the prices, such as 25.00")] = None,
    tokens: Annotated[int | None, Parameter(help="Input and output tokens")] = None,
    then: Annotated[OnReached, Parameter(help="What happens to runs when it is reached")] = "pause",
    alert_at: Annotated[int | None, Parameter(help="Percent at which webhooks are notified, else 80")] = None,
    name: Annotated[str | None, Parameter(help="A name for people")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a budget and print its id."""
    with connected(server, project=True) as client:
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
    print_result(made, made.id, json=json)


@budgets.command(name="update")
def update_budget(
    budget_id: BudgetId,
    /,
    *,
    cost: Annotated[str | None, Parameter(help="The new limit, with --tokens if it has both")] = None,
    tokens: Annotated[int | None, Parameter(help="The new limit of tokens")] = None,
    then: Annotated[OnReached | None, Parameter(help="What happens to runs when it is reached")] = None,
    alert_at: Annotated[int | None, Parameter(help="Percent at which webhooks are notified")] = None,
    name: Annotated[str | None, Parameter(help="A name for people")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Change a budget. Runs that wait for it continue if the new limit is not reached."""
    with connected(server, project=True) as client:
        changed = client.budgets.update(
            budget_id, cost=cost, tokens=tokens, on_reached=then, alert_at_percent=alert_at, name=name
        ).budget
    _print([changed], json=json)


@budgets.command(name="delete")
def delete_budget(
    budget_id: BudgetId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete a budget. Runs that wait for it continue."""
    with connected(server, project=True) as client:
        client.budgets.delete(budget_id)
    print_result({"deleted": True, "id": budget_id}, f"{budget_id}  deleted", json=json)


@budgets.command(name="approve")
def approve(
    run_id: RunId,
    /,
    *,
    raise_cost: Annotated[str | None, Parameter(help="Raise the limit of this period by this cost")] = None,
    raise_tokens: Annotated[
        int | None, Parameter(help="Raise the limit of this period by these tokens")
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Let a run continue that a budget stopped. With --raise-… all runs that wait for the budget continue."""
    with connected(server) as client:
        done = client.budgets.approve(run_id, cost=raise_cost, tokens=raise_tokens)
    print_result(done, "approved", json=json)


@budgets.command(name="stop")
def stop(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """End a run that a budget stopped. It fails with BUDGET_REACHED."""
    with connected(server) as client:
        done = client.budgets.stop(run_id)
    print_result(done, "stopped", json=json)
