"""Prices of models. Reading needs the scope runs:read, setting needs admin."""

from runstead.commands.access import Access, needs
from runstead.commands.count_guard import at_most
from runstead.core import limits
from runstead.core.errors import invalid_at, not_found
from runstead.core.identity.principal import Scope
from runstead.core.usage.price import Price


@needs(Scope.RUNS_READ, bound="cannot read prices")
async def page(access: Access) -> list[Price]:
    """List the project's prices by provider and model."""
    return await access.store.prices.of(access.project_id)


@needs(Scope.ADMIN, bound="cannot set prices", records="price.put")
async def put(
    access: Access,
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
    price = Price(access.project_id, provider, model, **rates)  # type: ignore[arg-type]
    guard = at_most(limits.prices_per_project_max, "prices", "PRICE_LIMIT_REACHED")
    return await access.recording.prices.put(price, guard)


@needs(Scope.ADMIN, bound="cannot set prices", records="price.delete")
async def delete(access: Access, provider: str, model: str) -> None:
    """Delete the price of a model. Raises NOT_FOUND."""
    storable = "\0" not in provider + model  # PostgreSQL refuses a NUL
    if not storable or not await access.recording.prices.delete(access.project_id, provider, model):
        raise not_found("Price")
