"""Rates in the store: claims take tokens from buckets, which refill with time and are deleted when they are full."""

import pytest

from runstead.core.queue.concurrency import BucketName, ConcurrencyLimit
from runstead.core.queue.rate import Rate
from runstead.core.runs.flow import Flow
from runstead.engines.sql.rates import stored_buckets
from tests.support.store_driver import PROJECT, push_service

ANY = {"limit": 9}
TWO_A_SECOND = Rate(2, 1)


@pytest.fixture
def rated(driver):
    async def rated(rate, target="task:t", **others):
        return await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit(target, rate=rate, **others)])

    return rated


@pytest.fixture
def runs(driver):
    async def runs(count, key=None, target="task:t"):
        for number in range(count):
            name = f"{key or 'run'}-{target[5:]}-{number}"
            await driver.created(name, target=target, flow=Flow(concurrency_key=key))

    return runs


@pytest.fixture
def buckets(driver):
    """The keys whose buckets are stored."""

    async def buckets():
        names = [BucketName(PROJECT, "task:t", key) for key in "abcd"]
        found = await driver.store.concurrency._database.read(stored_buckets, names)
        return sorted(name.key for name in found)

    return buckets


async def claimed(driver, **query):
    return len(await driver.claim_ids(**(ANY | query)))


async def test_a_rate_lets_its_limit_start_at_once_and_then_evenly(driver, clock, rated, runs):
    await rated(TWO_A_SECOND)
    await runs(9)
    await driver.create("other", target="task:other")
    assert await claimed(driver) == 3
    assert await claimed(driver) == 0
    assert await driver.store.concurrency.next_token(PROJECT, ["task:t"], 0) == 500
    clock.advance_ms(499)
    assert await claimed(driver, targets=("task:t",)) == 0
    clock.advance_ms(1)
    assert await driver.store.concurrency.next_token(PROJECT, ["task:t"], 250) == 0
    assert await claimed(driver, targets=("task:t",)) == 1
    clock.advance_ms(60_000)
    assert await claimed(driver) == 2  # a bucket holds no more than its limit
    clock.advance_ms(60_000)
    assert await claimed(driver, limit=1) == 1
    assert await driver.store.concurrency.next_token(PROJECT, ["task:t"], 250) is None
    assert await driver.store.concurrency.next_token(PROJECT, [None], 250) is None


async def test_a_clock_that_goes_back_gives_no_tokens(driver, clock, rated, runs):
    await rated(TWO_A_SECOND)
    await runs(9)
    assert await claimed(driver) == 2
    clock.advance_ms(-10_000)
    assert await claimed(driver) == 0
    clock.advance_ms(10_500)
    assert await claimed(driver) == 1


async def test_each_key_has_a_bucket_and_runs_without_one_share_theirs(driver, clock, rated, runs):
    await rated(Rate(1, 1, per_key=True))
    for key in ("a", "b", None):
        await runs(3, key)
    assert sorted(await driver.claim_ids(limit=9)) == ["a-t-0", "b-t-0", "run-t-0"]
    assert await claimed(driver) == 0
    await runs(1, "c")
    assert await driver.claim_ids(limit=9) == ["c-t-0"]
    clock.advance_ms(1_000)
    assert await claimed(driver) == 3


async def test_an_empty_bucket_of_a_key_is_passed_by_the_turns(driver, rated, runs):
    await rated(Rate(2, 60, per_key=True), max_running_per_key=1)
    await runs(5, "a")
    await runs(2, "b")
    for expected in ("a-t-0", "b-t-0", "a-t-1", "b-t-1"):
        assert await driver.claim_ids() == [expected]
        await driver.complete(expected)
    assert await driver.claim_ids() == []


async def test_rates_of_the_project_and_a_target_hold_together(driver, rated, runs):
    limits = [ConcurrencyLimit(None, rate=Rate(3, 60)), ConcurrencyLimit("task:t", rate=Rate(2, 60))]
    await driver.store.concurrency.put(PROJECT, limits)
    await runs(3)
    await runs(3, target="task:u")
    taken = await driver.claim_ids(limit=9)
    assert taken == ["run-t-0", "run-t-1", "run-u-0"]
    assert await claimed(driver) == 0
    assert await driver.store.concurrency.next_token(PROJECT, [None, "task:t"], 0) == 20_000


async def test_a_bucket_outlives_a_change_of_other_limits_and_a_changed_rate_begins_full(driver, rated, runs):
    await rated(TWO_A_SECOND)
    await runs(9)
    assert await claimed(driver) == 2
    shown = await rated(TWO_A_SECOND, max_running=9)
    assert shown[0].limit == ConcurrencyLimit("task:t", 9, rate=TWO_A_SECOND)
    assert await claimed(driver) == 0
    await rated(Rate(3, 60))
    assert await claimed(driver) == 3
    await rated(None, max_running=9)
    assert await driver.store.concurrency.next_token(PROJECT, ["task:t"], 0) is None
    assert await claimed(driver) == 4


async def test_buckets_are_deleted_when_they_are_full_again(driver, clock, rated, runs, buckets):
    await rated(Rate(2, 1, per_key=True))
    for key in "abc":
        await runs(1, key)
    assert await claimed(driver) == 3
    assert await buckets() == ["a", "b", "c"]
    clock.advance_ms(500)
    await runs(1, "d")
    assert await claimed(driver) == 1
    assert await buckets() == ["d"]


async def test_pushes_take_tokens_too(driver, clock, rated):
    await driver.store.push_services.register(push_service())
    await rated(Rate(1, 60), target="agent:t")
    for name in ("run-1", "run-2"):
        await driver.create(name, kind="agent", target="agent:t", push_service_id=push_service().id)
    assert len(await driver.dispatch()) == 1
    assert await driver.dispatch() == []
    clock.advance_ms(60_000)
    assert len(await driver.dispatch()) == 1
