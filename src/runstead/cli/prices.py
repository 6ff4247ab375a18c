"""`runstead prices …`: what a million tokens of a model cost."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import fail
from runstead.cli.shared.render import Column, Screen, format_age
from runstead.cli.shared.results import print_list, print_result
from runstead.cli.shared.usage_tables import format_money, parse_money

if TYPE_CHECKING:
    from runstead.sdk.models.price import Price

Provider = Annotated[str, Parameter(help="Such as anthropic")]
Model = Annotated[str, Parameter(help="The model; * for the provider's other models")]

prices = App(name="prices", help="Prices of models, which give usage its cost.")


@prices.command(name="list")
def list_prices(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's prices, for a million tokens."""
    with connected(server, project=True) as client:
        found = list(client.prices.iter())
    screen = Screen.of()
    columns: list[Column[Price]] = [
        Column("PROVIDER", lambda one: one.provider),
        Column("MODEL", lambda one: one.model),
        Column("INPUT", lambda one: format_money(one.input), number=True),
        Column("CACHED", lambda one: format_money(one.cached), drop_rank=2, number=True),
        Column("OUTPUT", lambda one: format_money(one.output), number=True),
        Column("REASONING", lambda one: format_money(one.reasoning), drop_rank=3, number=True),
        Column("SET", lambda one: format_age(one.updated_at, screen), drop_rank=1, keep_whole=True),
    ]
    print_list(found, columns, "prices", json=json)


@prices.command(name="set")
def set_price(
    provider: Provider,
    model: Model,
    /,
    *,
    input: Annotated[str, Parameter(help="A million input tokens, such as 2.50")],  # noqa: A002 - the option's name
    output: Annotated[str, Parameter(help="A million output tokens")],
    cached: Annotated[str | None, Parameter(help="A million cached input tokens; else as input")] = None,
    reasoning: Annotated[str | None, Parameter(help="A million reasoning tokens; else as output")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Set the price of a model. Needs the scope admin."""
    cached_micros = None if cached is None else parse_money("--cached", cached)
    reasoning_micros = None if reasoning is None else parse_money("--reasoning", reasoning)
    paid, received = parse_money("--input", input), parse_money("--output", output)
    with connected(server, project=True) as client:
        made = client.prices.put(
            provider, model, input=paid, output=received, cached=cached_micros, reasoning=reasoning_micros
        ).price
    line = f"{provider}  {model}  input {format_money(paid)}, output {format_money(received)}"
    print_result(made, line, json=json)


@prices.command(name="delete")
def delete_price(
    provider: Provider, model: Model, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete a price."""
    with connected(server, project=True) as client:
        done = client.prices.delete(provider, model)
    if not json and not done.deleted:
        fail(f"there is no price of {provider}/{model}")
    print_result(done, "deleted", json=json)
