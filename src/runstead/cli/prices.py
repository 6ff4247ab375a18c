"""`runstead prices …`: what a million tokens of a model cost."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.output import fail
from runstead.cli.shared.render import Column, age_column
from runstead.cli.shared.usage_tables import format_money, parse_money

if TYPE_CHECKING:
    from runstead.sdk.models.price import Price

Provider = Annotated[str, Parameter(help="Such as anthropic")]
Model = Annotated[str, Parameter(help="The model; * for the provider's other models")]

prices = App(name="prices", help="Prices of models, which give usage its cost.")


@command(prices, "list", project=True)
def list_prices(client: Client) -> Output:
    """List a project's prices, for a million tokens."""
    found = list(client.prices.iter())
    columns: list[Column[Price]] = [
        Column("PROVIDER", lambda one: one.provider),
        Column("MODEL", lambda one: one.model),
        Column("INPUT", lambda one: format_money(one.input), number=True),
        Column("CACHED", lambda one: format_money(one.cached), drop_rank=2, number=True),
        Column("OUTPUT", lambda one: format_money(one.output), number=True),
        Column("REASONING", lambda one: format_money(one.reasoning), drop_rank=3, number=True),
        age_column("SET", lambda one: one.updated_at, drop_rank=1),
    ]
    return listed(found, columns, "prices")


@command(prices, "set", project=True)
def set_price(
    client: Client,
    provider: Provider,
    model: Model,
    /,
    *,
    input: Annotated[str, "A million input tokens, such as 2.50"],  # noqa: A002 - the option's name
    output: Annotated[str, "A million output tokens"],
    cached: Annotated[str | None, "A million cached input tokens; else as input"] = None,
    reasoning: Annotated[str | None, "A million reasoning tokens; else as output"] = None,
) -> Output:
    """Set the price of a model. Needs the scope admin."""
    cached_micros = None if cached is None else parse_money("--cached", cached)
    reasoning_micros = None if reasoning is None else parse_money("--reasoning", reasoning)
    paid, received = parse_money("--input", input), parse_money("--output", output)
    made = client.prices.put(
        provider, model, input=paid, output=received, cached=cached_micros, reasoning=reasoning_micros
    ).price
    line = f"{provider}  {model}  input {format_money(paid)}, output {format_money(received)}"
    return one_line(made, line)


@command(prices, "delete", project=True)
def delete_price(client: Client, provider: Provider, model: Model, /, *, json: bool) -> Output:
    """Delete a price."""
    done = client.prices.delete(provider, model)
    if not json and not done.deleted:
        fail(f"there is no price of {provider}/{model}")
    return one_line(done, "deleted")
