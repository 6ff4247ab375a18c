"""Watching one run: its row and its events, also what no event tells of."""

import asyncio
from contextlib import aclosing

import pytest

from runstead.core import limits
from runstead.ports.store import RunKey


@pytest.fixture
async def watched(driver):
    """A run, and what is seen of it: `await see()` waits for the next sight."""

    class Watched:
        async def begin(self, after=0):
            self.id = (await driver.create())["run_id"]
            await self.again(after)

        async def again(self, after):
            row = await driver.store.runs.get(RunKey(driver.project.id, self.id))
            self.sights = driver.app.followers.watch(row, after)

        async def see(self):
            async with asyncio.timeout(10):
                return await anext(self.sights)

    watched = Watched()
    await watched.begin()
    async with aclosing(watched.sights):
        yield watched


async def test_the_first_sight_is_the_run_as_it_stands(driver, watched):
    await driver.append(watched.id, {"type": "A"})
    sight = await watched.see()
    assert (sight.run.run_id, [event.type for event in sight.events]) == (watched.id, ["A"])


async def test_a_change_that_no_event_tells_of_is_seen(driver, watched):
    assert (await watched.see()).run.paused is False
    await driver.post(f"/runs/{watched.id}/pause")
    sight = await watched.see()
    assert sight.run.paused is True
    assert list(sight.events) == []


async def test_events_are_seen_once_and_in_order(driver, watched):
    await watched.see()
    seen = []
    for number in range(5):
        await driver.append(watched.id, {"type": "A", "n": number}, {"type": "B"})
        seen += [event.event_id for event in (await watched.see()).events]
    assert seen == list(range(1, 11))


async def test_whoever_takes_their_time_sees_more_at_once(driver, watched):
    await watched.see()
    for number in range(limits.event_rows_max // 100 + 1):
        await driver.append(watched.id, *({"type": "A", "n": number} for _ in range(100)))
    sights = [await watched.see(), await watched.see()]
    assert [len(sight.events) for sight in sights] == [limits.event_rows_max, 100]


async def test_what_happens_below_a_run_is_seen(driver, watched):
    await watched.see()
    await driver.create(driver.task(parent_run_id=watched.id))
    assert (await watched.see()).run.descendants_total == 1


async def test_it_ends_once_the_end_was_seen(driver, watched):
    await watched.see()
    await driver.complete(watched.id)
    sights = [sight async for sight in watched.sights]
    assert sights[-1].run.terminal
    assert [event.type for sight in sights for event in sight.events] == ["RUN_FINISHED"]


async def test_an_ended_run_is_seen_once(driver, watched):
    await driver.complete(watched.id)
    await watched.again(1)
    [sight] = [sight async for sight in watched.sights]
    assert sight.run.terminal
    assert list(sight.events) == []


async def test_it_ends_where_the_run_is_deleted(driver, watched):
    await watched.see()
    await driver.complete(watched.id)
    response = await driver.send("DELETE", f"/runs/{watched.id}", by="admin")
    assert response.status_code in (200, 204), response.text
    assert [sight async for sight in watched.sights] == []


async def test_a_sign_of_life_comes_where_nothing_happens(watched, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    await watched.see()
    assert await watched.see() is None


async def test_it_ends_when_the_server_stops(driver, watched):
    await watched.see()
    driver.app.stop()
    assert [sight async for sight in watched.sights] == []
