"""What SQLite's sums grow by is found out beside the writer: meanwhile runs end, and another process may sum up as well."""

import asyncio
import threading

import pytest

from runstead.engines.sqlite import rollups

from .rollup_app import complete, fold_all, open_app, report, sound, told


@pytest.fixture
async def desks(desk_at, tmp_path):
    """Two processes over one file."""
    path = tmp_path / "one.db"
    return await desk_at(path), await desk_at(path)


@pytest.fixture
def held(monkeypatch):
    """held(fold): begins it, and returns once it has read its entries; what is returned lets it go on to its end."""
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


async def test_a_run_that_ends_or_goes_during_a_fold_is_left_for_the_next(desks, held):
    driver, _ = desks
    app = await open_app(driver.store)
    await complete(driver, "before")
    end = await held(driver.store.rollups.add_entries(10))
    await complete(driver, "meanwhile")
    await driver.delete("before")
    assert await end() == 1
    assert await driver.store.rollups.add_entries(10) == 2
    assert told(await report(app)) == ({"m": (2, 20)}, (2, 20), 2)
    await sound(driver.store)


async def test_a_fold_adds_nothing_where_another_came_between(desks, held):
    ours, theirs = desks
    app = await open_app(ours.store)
    for n in range(3):
        await complete(ours, f"run-{n}")
    end = await held(ours.store.rollups.add_entries(10))
    assert await theirs.store.rollups.add_entries(2) == 2
    assert await end() == 0
    assert told(await report(app)) == ({"m": (3, 30)}, (3, 30), 3)
    await fold_all(ours.store)
    await sound(ours.store)


async def test_a_fold_drops_no_entry_that_got_the_id_of_one_that_another_fold_dropped(desks, held):
    ours, theirs = desks
    app = await open_app(ours.store)
    await complete(ours, "first")
    end = await held(ours.store.rollups.add_entries(10))
    assert await theirs.store.rollups.add_entries(10) == 1
    await complete(theirs, "second")
    assert await end() == 0
    assert told(await report(app)) == ({"m": (2, 20)}, (2, 20), 2)
    assert await ours.store.rollups.add_entries(10) == 1
    await sound(ours.store)
