"""What a model's tokens cost, exactly: whole millionths of the project's currency for a million tokens."""

from collections.abc import Iterable
from typing import Final

import msgspec

from runstead.core.usage.usage import Tokens

ANY_MODEL: Final = "*"
_PER: Final = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """Per million tokens, in millionths of the currency: 2_500_000 is 2.50. Cached input without a price of its own costs
    what input does, reasoning what output does. The model `*` stands for those of the provider that have no price.
    """

    project_id: str
    provider: str
    model: str
    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None
    updated_at: int = 0


PRICE_FIELDS: Final = Price.__struct_fields__


def cost(price: Price, tokens: Tokens) -> int:
    """In millionths of a millionth of the currency: exact. Cached input is part of the input, reasoning of the output,
    and neither is more than what it is a part of.
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
    """What `cost` tells in millionths of the currency, halves rounded up."""
    return (exact + _PER // 2) // _PER


class PriceList:
    """The prices of one project."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices = {(one.provider, one.model): one for one in prices}

    def of(self, provider: str | None, model: str | None) -> Price | None:
        """The model's own price, else that of the provider's other models."""
        if provider is None:
            return None
        own = None if model is None else self._prices.get((provider, model))
        return own or self._prices.get((provider, ANY_MODEL))
