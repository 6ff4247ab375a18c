"""Rates of tokens in the store: usage is taken from buckets in the transaction that stores it, and claims wait for it."""

import asyncio

import msgspec
import pytest

from runstead.core.budgets.budget import Budget
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.queue.rate import BucketName, Rate
from runstead.core.runs.flow import Flow
from runstead.core.runs.run import RunStatus
from runstead.engines.sql.rates import stored_buckets
from tests.support.store_driver import PROJECT, push_service

ANY = {"limit": 9}
RATE = Rate(100, 10, unit="tokens")  # a token each 100 ms


@pytest.fixture
def rated(driver):
    async def rated(rate=RATE, target="task:t", **others):
        return await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit(target, rate=rate, **others)])

    return rated


@pytest.fixture
def left(driver):
    async def left(target="task:t"):
        [one] = [one for one in await driver.store.concurrency.of(PROJECT) if one.limit.target == target]
        return one.rate_left

    return left


def metadata(tokens):
    return msgspec.json.encode({"provider": "acme", "model": "m", "inputTokens": tokens, "outputTokens": 0})


async def create(driver, *names, target="task:t", key=None):
    for name in names:
        await driver.created(name, target=target, flow=Flow(concurrency_key=key))


async def wait_ms(driver, targets=("task:t",)):
    return await driver.store.concurrency.next_token(PROJECT, list(targets), 0)


async def test_no_run_starts_until_the_tokens_that_others_used_are_back(driver, clock, rated, left):
    await rated()
    await create(driver, "a", "b", "c")
    await driver.create("other", target="task:other")
    assert await driver.claim_ids(limit=2) == ["a", "b"]  # a start takes no token
    assert await left() == 100
    await driver.report("a", 60)
    assert await left() == 40
    await driver.report("b", 90)
    assert (await left(), await wait_ms(driver)) == (-50, 5_100)
    assert (await driver.row("b")).status is RunStatus.RUNNING  # nothing holds back a run that has started
    assert await driver.claim_ids(**ANY) == ["other"]
    clock.advance_ms(5_099)
    assert await driver.claim_ids(**ANY) == []
    clock.advance_ms(1)
    assert await driver.claim_ids(**ANY) == ["c"]
    assert (await left(), await wait_ms(driver)) == (1, None)
    clock.advance_ms(60_000)
    assert await left() == 100


async def test_each_token_is_taken_once_by_events_and_at_the_end(driver, rated, left):
    await rated()
    await create(driver, "a", "b")
    assert await driver.claim_ids(**ANY) == ["a", "b"]
    await driver.report("a", 30, call="c1")
    await driver.report("a", 30, call="c1")  # a repeat
    await driver.complete("a", metadata=metadata(45))
    await driver.complete("a", metadata=metadata(45))
    assert await left() == 55
    await driver.report("b", 20)
    await driver.complete("b", "failed", metadata=metadata(5))  # less than it reported: nothing is given back
    assert await left() == 35


async def test_the_tokens_of_a_lost_attempt_stay_taken_and_a_retry_uses_its_own(driver, clock, rated, left):
    await rated()
    await create(driver, "a")
    [run] = await driver.claim()
    await driver.report("a", 40)
    clock.advance_ms(run.lease_expires_at - run.updated_at + 1)
    await driver.enforce_deadlines()
    assert (await driver.row("a")).status is RunStatus.PENDING
    assert await left() == 100  # refilled meanwhile
    clock.advance_ms(60_000)
    assert await driver.claim_ids(**ANY) == ["a"]
    await driver.report("a", 40)
    await driver.complete("a", metadata=metadata(80))  # of both attempts
    assert await left() == 60


async def test_each_key_has_a_bucket_and_runs_without_one_share_theirs(driver, clock, rated):
    await rated(Rate(100, 10, per_key=True, unit="tokens"))
    for number in (1, 2):
        for key in ("a", "b", None):
            await create(driver, f"{key}-{number}", key=key)
    assert sorted(await driver.claim_ids(limit=3)) == ["None-1", "a-1", "b-1"]
    await driver.complete("a-1", metadata=metadata(150))
    await driver.complete("None-1", metadata=metadata(100))
    assert await driver.claim_ids(**ANY) == ["b-2"]
    assert await wait_ms(driver) == 100
    clock.advance_ms(100)
    assert await driver.claim_ids(**ANY) == ["None-2"]
    clock.advance_ms(5_000)
    assert await driver.claim_ids(**ANY) == ["a-2"]


async def test_rates_of_the_project_and_a_target_take_the_same_usage(driver, rated, left):
    limits = [ConcurrencyLimit(None, rate=RATE), ConcurrencyLimit("task:t", rate=Rate(50, 10, unit="tokens"))]
    await driver.store.concurrency.put(PROJECT, limits)
    await create(driver, "a", "b")
    await create(driver, "u-1", "u-2", target="task:u")
    assert await driver.claim_ids(limit=1) == ["a"]
    await driver.complete("a", metadata=metadata(70))
    assert (await left(None), await left()) == (30, -20)
    assert await driver.claim_ids(limit=1) == ["u-1"]
    await driver.complete("u-1", metadata=metadata(30))
    assert await driver.claim_ids(**ANY) == []
    assert await wait_ms(driver, [None, "task:t"]) == 100


async def test_a_run_of_a_rate_of_runs_and_one_of_tokens_stand_beside_each_other(driver, rated):
    limits = [ConcurrencyLimit("task:t", rate=RATE), ConcurrencyLimit("task:u", rate=Rate(1, 60))]
    await driver.store.concurrency.put(PROJECT, limits)
    await create(driver, "a", "b")
    await create(driver, "u-1", "u-2", target="task:u")
    assert sorted(await driver.claim_ids(limit=4)) == ["a", "b", "u-1"]
    await driver.complete("u-1", metadata=metadata(500))
    await create(driver, "c")
    assert await driver.claim_ids(**ANY) == ["c"]


async def test_a_changed_rate_begins_full_and_another_limit_leaves_it_as_it_is(driver, rated, left):
    await rated()
    await create(driver, "a", "b")
    assert await driver.claim_ids(limit=1) == ["a"]
    await driver.report("a", 300)
    await rated(max_running=9)
    assert await left() == -200
    await rated(Rate(100, 20, unit="tokens"))
    assert await left() == 100
    await driver.report("a", 300)
    await rated(Rate(100, 20))  # of runs
    assert (await left(), await wait_ms(driver)) == (100, None)
    await rated(Rate(100, 20, unit="tokens"))
    assert await driver.claim_ids(**ANY) == ["b"]


async def test_a_rate_counts_what_runs_report_after_it_was_set(driver, rated, left):
    await create(driver, "a")
    assert await driver.claim_ids() == ["a"]
    await driver.report("a", 30)
    await rated()
    await driver.report("a", 20)
    assert await left() == 80


async def test_buckets_are_deleted_when_they_are_full_again(driver, clock, rated):
    async def buckets():
        names = [BucketName(PROJECT, "task:t", key) for key in "ab"]
        found = await driver.store.concurrency._database.read(stored_buckets, names)
        return sorted(name.key for name in found)

    await rated(Rate(100, 10, per_key=True, unit="tokens"))
    for key in "ab":
        await create(driver, key, key=key)
    assert sorted(await driver.claim_ids(**ANY)) == ["a", "b"]
    await driver.report("a", 10)
    assert await buckets() == ["a"]
    clock.advance_ms(1_000)
    await driver.report("b", 10)
    assert await buckets() == ["b"]


async def test_usage_that_overflows_no_number_is_a_long_wait(driver, rated, left):
    await rated(Rate(1, 86_400, unit="tokens"))
    await create(driver, "a", "b")
    assert await driver.claim_ids(limit=1) == ["a"]
    for _ in range(3):
        await driver.report("a", 10**12)
    assert await left() < -(10**10)
    assert await driver.claim_ids(**ANY) == []


async def test_pushes_wait_for_tokens_too(driver, clock, rated):
    await driver.store.push_services.register(push_service())
    await rated(target="agent:t")
    for name in ("run-1", "run-2"):
        await driver.create(name, kind="agent", target="agent:t", push_service_id=push_service().id)
    assert len(await driver.dispatch()) == 2
    await driver.report("run-1", 150)
    await driver.create("run-3", kind="agent", target="agent:t", push_service_id=push_service().id)
    assert await driver.dispatch() == []
    clock.advance_ms(5_100)
    assert [run.run_id for run in await driver.dispatch()] == ["run-3"]


async def test_reports_at_once_are_all_taken(driver, rated, left):
    await rated(Rate(1_000, 86_400, unit="tokens"))
    names = [f"run-{n}" for n in range(8)]
    await create(driver, *names)
    assert len(await driver.claim_ids(**ANY)) == 8
    await asyncio.gather(*(driver.report(name, 7) for name in names for _ in range(5)))
    assert await left() == 1_000 - 8 * 5 * 7


async def test_budgets_and_rates_count_one_report_alike(driver, rated, left, store):
    members = {"scope_kind": "project", "period": "day", "limit_tokens": 60, "on_reached": "pause"}
    await store.budgets.create(Budget(id="b", project_id=PROJECT, name="B", **members), lambda _: None)
    await rated()
    await create(driver, "a")
    assert await driver.claim_ids() == ["a"]
    assert (await driver.report("a", 70)).run.status is RunStatus.WAITING  # the budget stopped it
    assert await left() == 30
    assert (await store.budgets.get(PROJECT, "b")).spent.tokens == 70
