"""Flow control in the store: unique keys and debounces, also by commands of one commit."""

import asyncio

import pytest

from runstead.commands.check import check
from runstead.core.runs.flow import Debounce, Flow, Unique
from runstead.core.runs.run import RunStatus

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
