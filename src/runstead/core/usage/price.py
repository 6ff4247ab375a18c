"""Prices of models: whole millionths of the project's currency for a million tokens, so that costs are exact."""

from collections.abc import Iterable
from typing import Final

import msgspec

from runstead.core.usage.usage import Tokens

ANY_MODEL: Final = "*"
_PER: Final = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """Prices per million tokens, in millionths of the currency: 2_500_000 is 2.50. Without its own price,
    cached input costs as much as input, and reasoning as much as output. The model `*` stands for all models
    of the provider without a price.
    """

    project_id: str
    provider: str
    model: str
    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None
    updated_at: int = 0


def cost(price: Price, tokens: Tokens) -> int:
    """Return the exact cost, in millionths of a millionth of the currency. Cached input counts at most as
    much as the input, reasoning at most as much as the output.
    """
    cached = min(tokens.cached_input_tokens, tokens.input_tokens)
    reasoning = min(tokens.reasoning_tokens, tokens.output_tokens)
    return (
        (tokens.input_tokens - cached) * price.input
        + cached * (price.input if price.cached is None else price.cached)
        + (tokens.output_tokens - reasoning) * price.output
        + reasoning * (price.output if price.reasoning is None else price.reasoning)
    )


def micros(exact: int) -> int:
    """Convert a `cost` to millionths of the currency. Halves are rounded up."""
    return (exact + _PER // 2) // _PER


class PriceList:
    """The prices of one project."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices = {(one.provider, one.model): one for one in prices}

    def of(self, provider: str | None, model: str | None) -> Price | None:
        """Return the model's own price, else the price of the provider's model `*`.

        None if there is neither.
        """
        if provider is None:
            return None
        own = None if model is None else self._prices.get((provider, model))
        return own or self._prices.get((provider, ANY_MODEL))
