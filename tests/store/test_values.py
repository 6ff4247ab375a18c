"""Named values and progress in the store."""

import asyncio

import msgspec
import pytest

from runstead.commands import retention
from runstead.commands.check import check
from runstead.core import limits
from runstead.core.errors import Error
from tests.support.store_driver import setting

from .test_retention import DAY, App


def value(name, content=1):
    return setting("run.value", name=name, value=content)


@pytest.fixture
def values(driver):
    """values(run_id): name → value, in the order of the store."""

    async def read(run_id="run-1", name=None):
        seq = (await driver.row(run_id)).seq
        return {one.name: msgspec.json.decode(one.value) for one in await driver.runs.values(seq, name)}

    return read


async def test_values_are_kept_by_name_and_the_last_one_stays(driver, clock, values):
    await driver.create("run-1")
    await driver.append("run-1", value("total", 1), value("stage", "a"), value("stage", {"b": [1.5, None]}))
    await driver.append("run-1", value("total", 2))
    assert list((await values()).items()) == [("stage", {"b": [1.5, None]}), ("total", 2)]
    assert await values(name="total") == {"total": 2}
    assert await values(name="other") == {}
    [total] = await driver.runs.values((await driver.row("run-1")).seq, "total")
    assert (total.event_id, total.updated_at) == (4, clock.now)
    await driver.complete("run-1")
    assert await values() == {"stage": {"b": [1.5, None]}, "total": 2}


async def test_progress_is_on_the_row_and_in_lists(driver, clock):
    await driver.create("run-1")
    assert (await driver.row("run-1")).progress is None
    await driver.append("run-1", setting("run.progress", fraction=0.25, message="half of é"))
    for run in [await driver.row("run-1"), *await driver.rows()]:
        shown = msgspec.json.decode(run.progress)
        assert (shown["fraction"], shown["message"]) == (0.25, "half of é")


async def test_progress_beside_other_changes_of_one_commit_is_stored(driver):
    """Appends with progress share statements with other changes of the same transaction."""
    for number in range(6):
        await driver.create(f"run-{number}")
    fraction = setting("run.progress", fraction=0.5)
    await asyncio.gather(
        driver.append("run-0", fraction),
        driver.append("run-1", value("a")),
        driver.complete("run-2"),
        driver.append("run-3", fraction, value("a")),
        driver.touch("run-4", title="new"),
        driver.append("run-5", fraction),
        driver.complete("run-5"),
    )
    stored = {run.run_id: run.progress is not None for run in await driver.rows()}
    assert stored == {f"run-{number}": number in (0, 3, 5) for number in range(6)}


async def test_appends_of_one_commit_cannot_exceed_the_bound_together(driver, values):
    await driver.create("run-1")
    most = limits.values_per_run_max
    await driver.append("run-1", *(value(f"v{number}") for number in range(most - 1)))
    outcomes = await asyncio.gather(
        *(driver.append("run-1", value(name)) for name in ("one", "two", "three")), return_exceptions=True
    )
    assert [one.code for one in outcomes if isinstance(one, Error)] == ["VALUES_FULL"] * 2
    assert len(await values()) == most


async def test_values_leave_with_their_run(driver, values, clock, store, refusal):
    for run_id in ("run-1", "run-2", "run-3"):
        await driver.create(run_id)
        await driver.append(run_id, value("stage"))
    await driver.complete("run-1")
    await driver.delete("run-1")
    await driver.complete("run-2")
    clock.advance_ms(31 * DAY)
    await retention.retire(App(store), 30 * DAY, 0)
    assert [run.run_id for run in await driver.rows()] == ["run-3"]
    assert await values("run-3") == {"stage": 1}
    assert [violation async for violation in check(store)] == []
