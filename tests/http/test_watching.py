"""Watch a run: its row and its events, also changes without an event."""

import asyncio
from contextlib import aclosing

import pytest

from runstead.core import limits
from runstead.ports.store import RunKey


@pytest.fixture
async def watched(driver):
    """A run and its updates: `await see()` waits for the next update."""

    class Watched:
        async def begin(self, after=0):
            self.id = (await driver.create())["run_id"]
            await self.again(after)

        async def again(self, after):
            row = await driver.store.runs.get(RunKey(driver.project.id, self.id))
            self.updates = driver.app.followers.watch(row, after)

        async def see(self):
            async with asyncio.timeout(30):
                return await anext(self.updates)

    watched = Watched()
    await watched.begin()
    async with aclosing(watched.updates):
        yield watched


async def test_the_first_update_is_the_current_run(driver, watched):
    await driver.append(watched.id, {"type": "A"})
    update = await watched.see()
    assert (update.run.run_id, [event.type for event in update.events]) == (watched.id, ["A"])


async def test_a_change_without_an_event_is_sent(driver, watched):
    assert (await watched.see()).run.paused is False
    await driver.post(f"/runs/{watched.id}/pause")
    update = await watched.see()
    assert update.run.paused is True
    assert list(update.events) == []


async def test_events_are_sent_once_and_in_order(driver, watched):
    await watched.see()
    seen = []
    for number in range(5):
        await driver.append(watched.id, {"type": "A", "n": number}, {"type": "B"})
        seen += [event.event_id for event in (await watched.see()).events]
    assert seen == list(range(1, 11))


async def test_a_slow_watcher_gets_several_changes_in_one_update(driver, watched):
    await watched.see()
    for number in range(limits.event_rows_max // 100 + 1):
        await driver.append(watched.id, *({"type": "A", "n": number} for _ in range(100)))
    updates = [await watched.see(), await watched.see()]
    assert [len(update.events) for update in updates] == [limits.event_rows_max, 100]


async def test_changes_of_descendants_are_sent(driver, watched):
    await watched.see()
    await driver.create(driver.task(parent_run_id=watched.id))
    assert (await watched.see()).run.descendants_total == 1


async def test_it_ends_after_the_terminal_event(driver, watched):
    await watched.see()
    await driver.complete(watched.id)
    updates = [update async for update in watched.updates]
    assert updates[-1].run.terminal
    assert [event.type for update in updates for event in update.events] == ["RUN_FINISHED"]


async def test_an_ended_run_is_sent_once(driver, watched):
    await driver.complete(watched.id)
    await watched.again(1)
    [update] = [update async for update in watched.updates]
    assert update.run.terminal
    assert list(update.events) == []


async def test_it_ends_when_the_run_is_deleted(driver, watched):
    await watched.see()
    await driver.complete(watched.id)
    response = await driver.send("DELETE", f"/runs/{watched.id}", by="admin")
    assert response.status_code in (200, 204), response.text
    assert [update async for update in watched.updates] == []


async def test_heartbeats_are_sent_without_changes(watched, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    await watched.see()
    assert await watched.see() is None


async def test_it_ends_when_the_server_stops(driver, watched):
    await watched.see()
    driver.app.stop()
    assert [update async for update in watched.updates] == []
