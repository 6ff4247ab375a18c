"""Prices of models: what every store keeps, and who may set them."""

import pytest
from msgspec.structs import replace

from runstead.commands import prices as commands
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, Principal, Scope
from runstead.core.identity.project import Project
from runstead.core.usage.price import Price
from runstead.engines.notifiers.local import LocalNotifier

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
ADMIN = Principal("api_key", "k", {PROJECT: ALL_SCOPES})
READER = Principal("api_key", "r", {PROJECT: frozenset({Scope.RUNS_READ})})


def anything(_count):
    """Lets any number be."""


def price(model="m", provider="acme", project_id=PROJECT, **fields):
    return Price(project_id, provider, model, **({"input": 1, "output": 2} | fields))


async def put(store, *args, **fields):
    return await store.prices.put(price(*args, **fields), anything)


async def test_a_price_is_read_as_it_was_written(store, clock):
    bare = await put(store, "b")
    full = await put(store, "a", cached=0, reasoning=limits.price_max)
    assert full == price("a", cached=0, reasoning=limits.price_max, updated_at=clock.now)
    assert await store.prices.of(PROJECT) == [full, bare]
    assert await store.prices.of(ELSEWHERE) == []


async def test_prices_are_listed_by_provider_then_model(store):
    for provider, model in (("b", "*"), ("a", "z"), ("B", "y"), ("a", "A"), ("ü", "m")):
        await put(store, model, provider)
    listed = [(one.provider, one.model) for one in await store.prices.of(PROJECT)]
    assert listed == [("B", "y"), ("a", "A"), ("a", "z"), ("b", "*"), ("ü", "m")]


async def test_a_new_price_takes_the_place_of_the_old_one(store, clock):
    await put(store, cached=5)
    clock.advance_ms(7)
    new = await put(store, input=9)
    assert await store.prices.of(PROJECT) == [new]
    assert (new.cached, new.updated_at) == (None, clock.now)


async def test_the_guard_counts_only_where_a_price_is_new(store):
    counts = []
    await put(store, project_id=ELSEWHERE)
    for model in ("a", "b", "a"):
        await store.prices.put(price(model), counts.append)
    assert counts == [0, 1]


async def test_a_price_is_deleted_once(store):
    await put(store)
    kept = await put(store, "other")
    assert not await store.prices.delete(ELSEWHERE, "acme", "m")
    assert await store.prices.delete(PROJECT, "acme", "m")
    assert not await store.prices.delete(PROJECT, "acme", "m")
    assert await store.prices.of(PROJECT) == [kept]


@pytest.fixture
async def app(store):
    await store.identity.create_project(Project(PROJECT, "inventory", "Inventory", 1), None, None)
    return App(store, LocalNotifier())


async def refused(work):
    with pytest.raises(Error) as caught:
        await work
    return caught.value.code


async def test_admins_set_prices_and_readers_see_them(app):
    mine = await commands.put(app, ADMIN, "inventory", "acme", "m", input=1, output=2)
    assert await commands.page(app, READER, "inventory") == [mine]
    writing = commands.put(app, READER, "inventory", "acme", "m", input=1, output=2)
    assert await refused(writing) == "FORBIDDEN"
    assert await refused(commands.delete(app, READER, "inventory", "acme", "m")) == "FORBIDDEN"
    bound = replace(ADMIN, run_id="run")
    assert await refused(commands.page(app, bound, "inventory")) == "FORBIDDEN"
    await commands.delete(app, ADMIN, "inventory", "acme", "m")
    for gone in ("m", "nul\x00"):
        assert await refused(commands.delete(app, ADMIN, "inventory", "acme", gone)) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("", "m"), {}),
        (("acme", "m" * 256), {}),
        (("acme", "nul\x00"), {}),
        (("acme", "m"), {"input": -1}),
        (("acme", "m"), {"cached": limits.price_max + 1}),
    ],
)
async def test_a_price_that_cannot_be_is_refused_and_not_stored(app, names, numbers):
    given = {"input": 1, "output": 2} | numbers
    assert await refused(commands.put(app, ADMIN, "inventory", *names, **given)) == "INVALID_REQUEST"
    assert await commands.page(app, ADMIN, "inventory") == []


async def test_a_project_has_only_so_many_prices(app, monkeypatch):
    monkeypatch.setattr(limits, "prices_per_project_max", 1)
    await commands.put(app, ADMIN, "inventory", "acme", "m", input=1, output=2)
    await commands.put(app, ADMIN, "inventory", "acme", "m", input=2, output=2)
    another = commands.put(app, ADMIN, "inventory", "acme", "n", input=1, output=2)
    assert await refused(another) == "PRICE_LIMIT_REACHED"
