"""The cancel of a large family: one decision for callers, written in bounded transactions."""

import asyncio

import pytest

from runstead.commands.app import App
from runstead.commands.runs import cancel_descendants
from runstead.core import limits
from runstead.core.runs.run import RunStatus
from runstead.engines.notifiers.local import LocalNotifier
from runstead.loops.finalizer import finish_families
from tests.support.store_driver import event

CHILDREN = 9
CANCELLED, ENDED = RunStatus.CANCELLED, RunStatus.COMPLETED


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(limits, "family_cancel_rows_max", 2)


@pytest.fixture
async def family(driver):
    """root → child-0 … child-8, child-0 → leaf; one child has ended. The root was cancelled, and nothing since."""
    await driver.create("root")
    for number in range(CHILDREN):
        await driver.create(f"child-{number}", parent="root")
    await driver.create("leaf", parent="child-0")
    await driver.create("stranger")
    await driver.complete("child-8")
    await driver.cancel("root", "enough")
    return driver


@pytest.fixture
def app(driver):
    return App(driver.store, LocalNotifier())


async def statuses(driver):
    return {run.run_id: run.status for run in await driver.rows()}


async def test_all_descendants_are_cancelled_in_slices(family, app):
    root = await family.row("root")
    await cancel_descendants(app, root.seq, 100)
    expected = dict.fromkeys(("root", "leaf", *(f"child-{n}" for n in range(CHILDREN))), CANCELLED)
    assert await statuses(family) == {**expected, "child-8": ENDED, "stranger": RunStatus.PENDING}
    assert (
        (await family.row("root")).descendants_active,
        (await family.row("child-0")).descendants_active,
    ) == (0, 0)
    assert (await family.row("leaf")).cancel_reason == "enough"
    assert [each.type for each in await family.log("leaf")] == ["RUN_ERROR"]
    assert await family.store.runs.cancelling(10) == []


async def test_one_slice_is_bounded(family, engine):
    root = await family.row("root")
    cancelled = await family.store.runs.cancel_descendants(root.seq, 0, 2)
    assert len(cancelled) == (2 if engine == "sqlite" else 0)
    assert {each.run.status for each in cancelled} <= {CANCELLED}


async def test_a_loop_finishes_the_cancel_after_a_crash(family, app):
    while await finish_families(app):
        pass
    assert [name for name, status in (await statuses(family)).items() if status is RunStatus.PENDING] == [
        "stranger"
    ]


async def test_no_descendant_is_claimed(family):
    assert await family.claim_ids(limit=100) == ["stranger"]


async def test_no_descendant_is_claimed_after_a_restart(family, driver):
    if cache := getattr(getattr(driver.store, "_writer", None), "cache", None):
        cache.clear()
    assert await family.claim_ids(limit=100) == ["stranger"]


async def test_no_descendant_gets_a_child(family, refusal):
    assert await refusal(family.create("late", parent="child-7")) == "PARENT_CANCELLED"
    assert await refusal(family.create("late", parent="leaf")) == "PARENT_CANCELLED"


async def test_a_descendant_cannot_be_completed(family):
    written = await family.complete("child-7")
    assert (written.transition.accepted, written.run.status) == (False, CANCELLED)
    assert (await family.row("child-7")).status is CANCELLED


async def test_a_descendant_accepts_no_events(family, refusal):
    assert await refusal(family.append("child-7", event())) == "EVENT_RUN_TERMINAL"
    # Nothing was written, so the next slice still cancels it.
    assert (await family.complete("child-7")).run.status is CANCELLED


async def test_a_cancel_of_a_descendant_finds_it_cancelled(family):
    assert not (await family.cancel("child-0")).transition.accepted
    assert (await family.row("child-0")).cancel_reason == "enough"


async def test_a_descendant_whose_lease_ends_is_cancelled_and_not_retried(driver, clock):
    await driver.create("root")
    for number in range(CHILDREN):
        await driver.create(f"child-{number}", parent="root")
    await driver.claim(limit=100, lease_ms=5_000)
    await driver.cancel("root")
    clock.advance(seconds=60)
    await driver.enforce_deadlines()
    found = await statuses(driver)
    assert set(found.values()) == {CANCELLED}


async def test_a_batch_of_large_families_is_cancelled_in_bounded_slices(family, driver):
    made = await driver.create_batch("one", "two", "three")
    for parent in ("one", "two", "three"):
        await driver.create(f"{parent}-a", parent=parent)
        await driver.create(f"{parent}-b", parent=parent)
    await driver.call_off(made.batch)
    rounds = 0
    while await driver.cancel_some(made.batch, 2):
        rounds += 1
    found = await statuses(driver)
    assert {found[f"{parent}{part}"] for parent in ("one", "two", "three") for part in ("", "-a", "-b")} == {
        CANCELLED
    }
    assert rounds >= 2


async def test_a_cancel_delays_no_other_write_by_more_than_a_slice(driver, engine, app):
    """The writes of another tenant go on between the slices."""
    if engine != "sqlite":
        pytest.skip("one transaction of its own")
    await driver.create("root")
    await driver.create_batch(*(f"child-{n}" for n in range(60)), parent="root")
    await driver.create("other")
    await driver.cancel("root")
    task = asyncio.create_task(cancel_descendants(app, (await driver.row("root")).seq, 100))
    touched = 0
    while not task.done():
        await driver.touch("other")
        touched += 1
    assert await task == 60
    assert touched >= 10
