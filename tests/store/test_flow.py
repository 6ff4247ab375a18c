"""Flow control in the store: unique keys and debounces, also by commands of one commit."""

import asyncio

import pytest

from runstead.commands.check import check
from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.runs.flow import Debounce, Flow, Unique
from runstead.core.runs.run import RunStatus
from tests.support.store_driver import PROJECT

ACTIVE = Flow(unique=Unique("u"))
MINUTE = Flow(unique=Unique("u", 60))
SOON = Flow(debounce=Debounce("d", 10, 25))
OTHERS = {"target": "task:other"}, {"project_id": "other"}


async def test_a_unique_key_has_one_active_run(driver, store):
    first = await driver.created("run-1", target="task:a", flow=ACTIVE)
    again = await driver.created("run-2", target="task:a", flow=ACTIVE)
    assert (again.run, again.before, again.transition.duplicate) == (first.run, first.run, True)
    assert [run.run_id for run in await driver.rows()] == ["run-1"]
    for number, other in enumerate(OTHERS):
        created = await driver.created(f"other-{number}", flow=ACTIVE, **{"target": "task:a"} | other)
        assert not created.transition.duplicate
    await driver.complete("run-1", "failed")
    created = await driver.created("run-3", target="task:a", flow=ACTIVE)
    assert (created.run.run_id, created.run.unique_key) == ("run-3", "u")
    assert [violation async for violation in check(store)] == []


async def test_a_unique_key_for_a_time_also_finds_a_run_that_has_ended(driver, clock):
    await driver.created("run-1", flow=MINUTE)
    await driver.complete("run-1")
    clock.advance_ms(59_999)
    found = await driver.created("run-2", flow=MINUTE)
    assert (found.run.run_id, found.run.status) == ("run-1", RunStatus.COMPLETED)
    clock.advance_ms(1)
    assert (await driver.created("run-2", flow=MINUTE)).run.run_id == "run-2"


async def test_a_deleted_run_frees_its_unique_key(driver):
    await driver.created("run-1", flow=MINUTE)
    await driver.complete("run-1")
    await driver.delete("run-1")
    assert (await driver.created("run-2", flow=MINUTE)).run.run_id == "run-2"


async def test_commands_of_one_commit_create_one_run_of_a_key(driver):
    made = await asyncio.gather(*(driver.created(f"run-{n}", flow=ACTIVE) for n in range(8)))
    assert len({one.run.run_id for one in made}) == 1
    assert sorted(one.transition.duplicate for one in made) == [False] + [True] * 7
    assert len(await driver.rows()) == 1


async def test_a_debounced_run_takes_over_later_requests_until_its_longest_wait(driver, clock, store):
    start = clock.now
    first = await driver.created("run-1", flow=SOON, input=b"1", config=b'{"n":1}')
    assert (first.run.available_at, first.run.debounce_until) == (start + 10_000, start + 25_000)
    for number, at in ((2, 18_000), (3, 25_000), (4, 25_000)):
        clock.advance_ms(8_000)
        later = await driver.created(f"run-{number}", flow=SOON, input=b"%d" % number)
        assert (later.run.run_id, later.run.available_at) == ("run-1", start + at)
    assert (later.run.input, later.run.config, later.run.debounced) == (b"4", None, 3)
    assert await driver.row("run-1") == later.run
    clock.advance_ms(999)
    assert await driver.claim() == []
    clock.advance_ms(1)
    assert [run.input for run in await driver.claim()] == [b"4"]
    after = await driver.created("run-5", flow=SOON, input=b"5")
    assert (after.run.run_id, after.run.debounced) == ("run-5", None)
    assert [violation async for violation in check(store)] == []


async def test_a_debounce_leaves_runs_alone_that_are_not_pending(driver):
    await driver.created("run-1", flow=SOON, input=b"1")
    await driver.cancel("run-1")
    await driver.created("run-2", flow=SOON, input=b"2")
    assert [(run.run_id, run.input) for run in await driver.rows()] == [("run-1", b"1"), ("run-2", b"2")]


async def test_debounces_of_one_commit_count_each_other(driver):
    await asyncio.gather(*(driver.created(f"run-{n}", flow=SOON, input=b"%d" % n) for n in range(8)))
    [run] = await driver.rows()
    assert run.debounced == 7


@pytest.mark.parametrize("flow", [ACTIVE, SOON])
async def test_a_run_with_a_large_input_is_found_too(driver, flow):
    large = b'"' + b"x" * 300_000 + b'"'
    await driver.created("run-1", flow=flow, input=large)
    assert (await driver.created("run-2", flow=flow, input=large)).run.input == large


# Concurrency keys


def of(key):
    return Flow(concurrency_key=key)


async def keyed_runs(driver, **counts):
    """keyed_runs(driver, a=2): two runs of the key a, older than those of later keys."""
    for key, count in counts.items():
        for number in range(count):
            await driver.created(f"{key}-{number}", target="task:t", flow=of(key))


async def per_key(driver, most, whole=None):
    await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit("task:t", whole, most)])


async def test_keys_take_turns_however_old_the_backlog_of_one_is(driver):
    await keyed_runs(driver, a=5, b=2, c=1)
    claimed = [(await driver.claim_ids())[0] for _ in range(8)]
    assert claimed == ["a-0", "b-0", "c-0", "a-1", "b-1", "a-2", "a-3", "a-4"]


async def test_one_claim_of_many_runs_takes_them_in_turn(driver):
    await keyed_runs(driver, a=5, b=2, c=1)
    assert await driver.claim_ids(limit=2) == ["a-0", "b-0"]
    assert await driver.claim_ids(limit=6) == ["c-0", "a-1", "b-1", "a-2"]


async def test_the_limit_of_a_key_holds_back_only_its_runs(driver):
    await per_key(driver, 1)
    await keyed_runs(driver, a=3, b=1)
    await driver.create("plain", target="task:t")
    assert await driver.claim_ids(limit=9) == ["a-0", "b-0", "plain"]
    assert await driver.claim_ids(limit=9) == []
    await driver.complete("a-0")
    assert await driver.claim_ids(limit=9, targets=("task:t",)) == ["a-1"]
    await driver.wait("a-1", "event")
    assert await driver.claim_ids(limit=9) == ["a-2"]
    assert await driver.claim_ids(limit=9) == []


async def test_the_limits_of_a_target_and_of_its_keys_hold_together(driver):
    await per_key(driver, 2, whole=3)
    await keyed_runs(driver, a=3, b=3)
    assert await driver.claim_ids(limit=9) == ["a-0", "b-0", "a-1"]
    assert await driver.claim_ids(limit=9) == []
    listed = await driver.store.concurrency.of(PROJECT)
    assert [(one.limit.max_running, one.limit.max_running_per_key, one.running) for one in listed] == [
        (3, 2, 3)
    ]


async def test_a_resumed_run_waits_for_its_key(driver):
    await per_key(driver, 1)
    await keyed_runs(driver, a=2)
    await driver.claim()
    await driver.wait("a-0", "event", release=True)
    assert await driver.claim_ids() == ["a-1"]
    await driver.resume("a-0", "event")
    assert await driver.claim_ids() == []
    await driver.complete("a-1")
    assert await driver.claim_ids() == ["a-0"]


async def test_delayed_runs_of_a_key_and_runs_of_other_kinds_are_left_out(driver, clock):
    await driver.created("later", target="task:t", flow=of("a"), available_at=clock.now + 10_000)
    await driver.created("other", kind="eval", target="eval:t", flow=of("a"))
    await keyed_runs(driver, b=1)
    assert await driver.claim_ids(limit=9, kinds=("task",)) == ["b-0"]
    assert await driver.claim_ids(limit=9, kinds=("eval",), targets=("eval:t",)) == ["other"]
    clock.advance_ms(10_000)
    assert await driver.claim_ids(limit=9) == ["later"]


async def test_priorities_order_the_runs_of_a_key_and_stand_beside_runs_without_one(driver):
    await driver.created("low", target="task:t", flow=of("a"))
    await driver.created("high", target="task:t", flow=of("a"), priority=5)
    await driver.create("plain", target="task:t", priority=3)
    assert [run.shown_priority for run in await driver.rows()] == [0, 5, 3]
    assert await driver.claim_ids(limit=2) == ["high", "plain"]
    assert await driver.claim_ids(limit=2) == ["low"]


async def test_a_claim_passes_more_keys_than_it_may_visit_in_the_next_claims(driver, monkeypatch, clock):
    monkeypatch.setattr(limits, "keys_visited_max", 3)
    for key in "abcdefgh":
        at = None if key == "h" else clock.now + 10_000
        await driver.created(key, target="task:t", flow=of(key), available_at=at)
    claimed = [await driver.claim_ids() for _ in range(4)]
    assert [found for found in claimed if found] == [["h"]]
