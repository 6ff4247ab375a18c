"""SQLite computes additions to the roll-ups outside the writer, while runs end and other processes do the same."""

import asyncio
import threading

import pytest

from runstead.engines.sqlite import rollups

from .rollup_app import add_all_entries, complete, figures, open_app, report, sound


@pytest.fixture
async def drivers(driver_at, tmp_path):
    """Two processes over one file."""
    path = tmp_path / "one.db"
    return await driver_at(path), await driver_at(path)


@pytest.fixture
def held(monkeypatch):
    """held(tick): run the tick until it has read its entries; return a function that lets it finish."""
    reached, go = threading.Event(), threading.Event()
    plain = rollups.paced

    def paced(entries):
        if not reached.is_set():
            reached.set()
            assert go.wait(10)
        return plain(entries)

    monkeypatch.setattr(rollups, "paced", paced)

    async def begin(fold):
        work = asyncio.ensure_future(fold)
        assert await asyncio.to_thread(reached.wait, 10)

        async def end():
            go.set()
            return await work

        return end

    yield begin
    go.set()


async def test_a_run_that_ends_or_is_deleted_during_a_tick_is_added_by_the_next(drivers, held):
    driver, _ = drivers
    app = await open_app(driver.store)
    await complete(driver, "before")
    end = await held(driver.store.rollups.add_entries(10))
    await complete(driver, "meanwhile")
    await driver.delete("before")
    assert await end() == 1
    assert await driver.store.rollups.add_entries(10) == 2
    assert figures(await report(app)) == ({"m": (2, 20)}, (2, 20), 2)
    await sound(driver.store)


async def test_a_tick_adds_nothing_after_a_concurrent_one(drivers, held):
    ours, theirs = drivers
    app = await open_app(ours.store)
    for n in range(3):
        await complete(ours, f"run-{n}")
    end = await held(ours.store.rollups.add_entries(10))
    assert await theirs.store.rollups.add_entries(2) == 2
    assert await end() == 0
    assert figures(await report(app)) == ({"m": (3, 30)}, (3, 30), 3)
    await add_all_entries(ours.store)
    await sound(ours.store)


async def test_a_tick_drops_no_entry_with_a_reused_id(drivers, held):
    ours, theirs = drivers
    app = await open_app(ours.store)
    await complete(ours, "first")
    end = await held(ours.store.rollups.add_entries(10))
    assert await theirs.store.rollups.add_entries(10) == 1
    await complete(theirs, "second")
    assert await end() == 0
    assert figures(await report(app)) == ({"m": (2, 20)}, (2, 20), 2)
    assert await ours.store.rollups.add_entries(10) == 1
    await sound(ours.store)
