"""Prices of models. Reading needs the scope runs:read, setting needs admin."""

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.errors import invalid_at, not_found
from runstead.core.identity.principal import Principal, Scope
from runstead.core.usage.price import Price


async def page(app: App, principal: Principal, project: str) -> list[Price]:
    """List the project's prices by provider and model."""
    found = await locate.project(app, principal, Scope.RUNS_READ, project, bound="cannot read prices")
    return await app.store.prices.of(found.id)


async def put(
    app: App,
    principal: Principal,
    project: str,
    provider: str,
    model: str,
    *,
    input: int,  # noqa: A002 - the member's name
    output: int,
    cached: int | None = None,
    reasoning: int | None = None,
) -> Price:
    """Set the price of a model, in millionths of the currency per million tokens.

    The model `price.ANY_MODEL` sets the price of a provider's models that have no own price. Raises
    INVALID_REQUEST, NOT_FOUND, PRICE_LIMIT_REACHED.
    """
    found = await locate.project(app, principal, Scope.ADMIN, project, bound="cannot set prices")
    for name, text in (("provider", provider), ("model", model)):
        if not text or len(text) > limits.name_chars_max or "\0" in text:
            raise invalid_at(
                f"$.{name}",
                "not a name",
                f"The {name} of a price must have 1 to {limits.name_chars_max} characters and no NUL",
            )
    rates = {"input": input, "output": output, "cached": cached, "reasoning": reasoning}
    for name, value in rates.items():
        if value is not None and not 0 <= value <= limits.price_max:
            raise invalid_at(
                f"$.{name}",
                "out of range",
                f"A price is a whole number from 0 to {limits.price_max:,}, not {value}",
            )
    price = Price(
        project_id=found.id,
        provider=provider,
        model=model,
        input=input,
        output=output,
        cached=cached,
        reasoning=reasoning,
    )
    recording = app.store.recording(by(principal, "price.put", found.id))
    guard = at_most(limits.prices_per_project_max, "prices", "PRICE_LIMIT_REACHED")
    return await recording.prices.put(price, guard)


async def delete(app: App, principal: Principal, project: str, provider: str, model: str) -> None:
    """Delete the price of a model. Raises NOT_FOUND."""
    found = await locate.project(app, principal, Scope.ADMIN, project, bound="cannot set prices")
    storable = "\0" not in provider + model  # PostgreSQL refuses a NUL
    prices = app.store.recording(by(principal, "price.delete", found.id)).prices
    if not storable or not await prices.delete(found.id, provider, model):
        raise not_found("Price")
