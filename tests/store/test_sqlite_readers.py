"""SQLite's readers under noisy neighbours: deadlines, callers that hang up, lanes, and fair turns."""

import asyncio
import time

import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.tenant import tenant
from tests.support.until import eventually

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
SHORT = "SELECT 1"


@pytest.fixture
async def readers(driver_at, tmp_path, monkeypatch):
    """With a deadline that no test reaches."""
    made = (await driver_at(tmp_path / "one.db")).store._readers
    for each in (made._scans, made._points):
        monkeypatch.setattr(each, "_seconds", 600)
    return made


def scan(readers, sql, project="noisy"):
    """A scan as a task of this tenant."""

    async def read():
        tenant.set(project)
        return await readers.scan(lambda connection: connection.execute(sql).fetchone()[0])

    return asyncio.create_task(read())


async def test_a_query_ends_at_its_deadline(monkeypatch, readers):
    monkeypatch.setattr(readers._scans, "_seconds", 0.2)
    began = time.monotonic()
    with pytest.raises(Error) as refused:
        await scan(readers, ENDLESS)
    assert refused.value.code == "QUERY_TOO_SLOW"
    assert time.monotonic() - began >= 0.2
    assert await scan(readers, SHORT) == 1


async def test_a_short_read_has_a_deadline_too(monkeypatch, readers):
    monkeypatch.setattr(readers._points, "_seconds", 0.2)
    with pytest.raises(Error) as refused:
        await readers.do(lambda connection: connection.execute(ENDLESS).fetchone())
    assert refused.value.code == "STORE_BUSY"


async def test_a_query_stops_when_its_caller_is_cancelled(readers):
    tasks = [scan(readers, ENDLESS) for _ in range(limits.scans_per_project_max)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(60):  # all threads are free again, long before the deadline
        await asyncio.gather(*(scan(readers, SHORT, f"p-{n}") for n in range(limits.scan_readers_max)))
    assert readers.waiting == 0


async def test_short_reads_do_not_wait_behind_queries(readers):
    tasks = [scan(readers, ENDLESS, f"p-{n % 8}") for n in range(16)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        for _ in range(10):
            await readers.do(lambda connection: connection.execute(SHORT).fetchone())
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_eight_queries_of_a_project_leave_threads_to_another_project(readers):
    tasks = [scan(readers, ENDLESS) for _ in range(8)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        assert await scan(readers, SHORT, "quiet") == 1
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_closing_the_store_stops_queries(readers):
    task = scan(readers, ENDLESS)
    await asyncio.sleep(0.1)
    await asyncio.wait_for(readers.close(), 60)
    with pytest.raises(Error):
        await task


@pytest.fixture
def slots():
    return FairSlots(
        Bounds(slots=2, slots_per_tenant=1, waiting=6, waiting_per_tenant=3, wait_s=0.3), "queries"
    )


class Queue:
    """Tasks that hold a slot until `end`; `started` lists their tenants in order."""

    def __init__(self, slots):
        self.slots, self.started, self.ends = slots, [], {}

    def add(self, name):
        end = asyncio.Event()
        self.ends.setdefault(name, []).append(end)

        async def hold():
            async with self.slots.hold(name):
                self.started.append(name)
                await end.wait()

        return asyncio.create_task(hold())

    async def end(self, name):
        self.ends[name].pop(0).set()
        await asyncio.sleep(0.01)


async def test_free_slots_go_to_waiting_projects_in_turn(slots):
    queue = Queue(slots)
    tasks = [queue.add(name) for name in ("a", "a", "a", "b", "c", "c", "b")]
    await asyncio.sleep(0.01)
    assert queue.started == ["a", "b"]
    await queue.end("a")
    await queue.end("b")
    await queue.end("a")
    assert queue.started[2:5] in (["a", "c", "b"], ["c", "a", "b"], ["a", "c", "a"], ["c", "a", "c"])
    for ends in queue.ends.values():
        for end in ends:
            end.set()
    await asyncio.gather(*tasks)
    assert sorted(queue.started) == ["a", "a", "a", "b", "b", "c", "c"]
    assert (slots.waiting, slots._free, slots._queues, list(slots._ring)) == (0, 2, {}, [])


async def test_a_project_with_too_many_waiting_queries_is_refused(slots):
    queue = Queue(slots)
    tasks = [queue.add("a") for _ in range(4)]
    await asyncio.sleep(0.01)
    with pytest.raises(Error) as refused:
        async with slots.hold("a"):
            raise AssertionError
    assert (refused.value.code, refused.value.retry_after_s) == ("PROJECT_BUSY", 1)
    async with slots.hold("b"):
        pass
    # The others wait for a limited time.
    waited = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert {one.code for one in waited} == {"PROJECT_BUSY"}
    await queue.end("a")
    await eventually(lambda: slots._free == 2)
    assert (slots.waiting, slots._queues, list(slots._ring)) == (0, {}, [])


async def test_too_many_waiting_queries_of_all_projects_are_refused(slots):
    queue = Queue(slots)
    tasks = [queue.add(name) for name in "aabbccddee"[:8]]
    await asyncio.sleep(0.01)
    assert slots.waiting == 6
    with pytest.raises(Error) as refused:
        async with slots.hold("z"):
            raise AssertionError
    assert refused.value.code == "STORE_BUSY"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots.waiting, slots._free, slots._queues, list(slots._ring)) == (0, 2, {}, [])
