"""Costs are exact, and every token is charged once."""

from hypothesis import given, strategies

from runstead.core.usage.price import Price, PriceList, cost, micros
from runstead.core.usage.usage import Tokens

COUNTS = strategies.integers(0, 10**9)
TOKENS = strategies.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS)
PRICES = strategies.builds(
    Price,
    project_id=strategies.just("p"),
    provider=strategies.just("acme"),
    model=strategies.just("m"),
    input=COUNTS,
    output=COUNTS,
    cached=strategies.none() | COUNTS,
    reasoning=strategies.none() | COUNTS,
)


def price(model="m", **fields):
    return Price("p", "acme", model, **({"input": 3_000_000, "output": 15_000_000} | fields))


def test_a_million_tokens_cost_their_price():
    assert micros(cost(price(), Tokens(1_000_000, 0))) == 3_000_000
    assert micros(cost(price(), Tokens(0, 1_000_000))) == 15_000_000
    assert micros(cost(price(cached=300_000), Tokens(1_000_000, 0, 1_000_000))) == 300_000
    assert micros(cost(price(reasoning=1), Tokens(0, 1_000_000, 0, 1_000_000))) == 1


@given(TOKENS)
def test_cached_input_and_reasoning_without_a_price_cost_as_much_as_input_and_output(tokens):
    plain = Tokens(tokens.input_tokens, tokens.output_tokens)
    assert cost(price(), tokens) == cost(price(), plain)


@given(PRICES, TOKENS)
def test_every_token_is_charged_once(price, tokens):
    rates = [rate for rate in (price.input, price.cached) if rate is not None]
    ends = [rate for rate in (price.output, price.reasoning) if rate is not None]
    least = tokens.input_tokens * min(rates) + tokens.output_tokens * min(ends)
    most = tokens.input_tokens * max(rates) + tokens.output_tokens * max(ends)
    assert least <= cost(price, tokens) <= most


@given(strategies.integers(0, 10**20))
def test_costs_are_rounded_to_the_nearest(exact):
    assert abs(micros(exact) * 1_000_000 - exact) <= 500_000


def test_a_model_without_a_price_has_the_default_price_of_its_provider():
    own, others = price("m"), price("*", input=1)
    prices = PriceList([own, others])
    assert prices.of("acme", "m") == own
    assert prices.of("acme", "n") == prices.of("acme", None) == others
    assert prices.of("other", "m") is prices.of(None, "m") is None
    assert PriceList([own]).of("acme", "n") is None
