"""A full group of SQLite's writer, under load."""

import asyncio
import threading

import pytest

from runstead.core import limits

from .test_sqlite_writer import Watch, quiet


@pytest.fixture
def watch(monkeypatch):
    made = Watch()
    monkeypatch.setattr("runstead.engines.sqlite.writer.time", made)
    return made


@pytest.fixture
async def driver(driver_at, tmp_path):
    return await driver_at(tmp_path / "one.db")


async def test_a_full_group_of_quick_commands_is_committed_and_keeps_the_loop(driver, watch):
    """In the thread each statement waits for the interpreter, so an overloaded server would get slower."""
    asked = []
    await asyncio.gather(*(driver.create(f"run-{number}") for number in range(40)))

    def brisk(loaded):
        asked.append(threading.current_thread().name)
        watch.advance(limits.loop_job_s_max / 2)
        return quiet(loaded)

    before = driver.store.facts()["commits"]
    await asyncio.gather(*(driver.change(f"run-{number}", brisk) for number in range(40)))
    assert set(asked) == {threading.main_thread().name}
    assert driver.store.facts()["commits"] == before + 2
