import asyncio
import os
import signal

import httpx2

from runstead.sdk import AsyncClient, Worker


async def forever(run, ctx):
    await asyncio.Event().wait()


async def test_runs_get_the_grace_to_finish_and_nothing_is_claimed_meanwhile(harness):
    door = asyncio.Event()

    async def handler(run, ctx):
        await door.wait()

    b = harness(handler, grace_seconds=30)
    b.server.add("a")
    await b.time.advance(0)
    b.worker.stop()
    await b.time.advance(5)
    b.server.add("late")
    door.set()
    await b.settle()
    assert b.serving.done()
    assert b.server.runs["a"]["status"] == "completed"
    assert b.server.queue == ["late"]
    assert b.server.releases == []


async def test_a_run_that_is_not_finished_within_the_grace_is_released(harness):
    b = harness(forever, grace_seconds=30)
    b.server.add("a")
    await b.time.advance(0)
    b.worker.stop()
    await b.time.advance(29)
    assert b.server.releases == []
    await b.time.advance(2)
    assert b.serving.done()
    ((run_id, body),) = b.server.releases
    assert (run_id, body["attempt"], body["retry_after_seconds"]) == ("a", 1, 0)
    assert b.sent("/release")[0][0]["x-lease-token"] == "lease-a-1"
    assert b.server.completions == []


async def test_a_second_stop_releases_at_once(harness):
    b = harness(forever, grace_seconds=30)
    b.server.add("a")
    await b.time.advance(0)
    b.worker.stop()
    await b.time.advance(2)
    b.worker.stop()
    await b.settle()
    assert b.serving.done()
    assert [run_id for run_id, _ in b.server.releases] == ["a"]


async def test_a_worker_whose_task_is_cancelled_releases_at_once(harness):
    b = harness(forever)
    b.server.add("a")
    await b.time.advance(0)
    b.serving.cancel()
    await b.settle()
    assert b.serving.cancelled()
    assert [run_id for run_id, _ in b.server.releases] == ["a"]


async def test_runs_that_a_claim_brings_while_the_worker_stops_are_released(harness):
    b = harness(forever)
    await b.time.advance(0)
    b.worker.stop()
    b.server.add("a")
    await b.settle()
    assert b.serving.done()
    assert [run_id for run_id, _ in b.server.releases] == ["a"]


async def test_an_idle_worker_stops_within_a_second(harness):
    b = harness(forever, wait_seconds=20)
    await b.time.advance(0)
    b.worker.stop()
    await b.time.advance(1)
    assert b.serving.done()


def test_sigterm_stops_a_worker_that_runs(kit):
    server = kit.FakeServer()

    async def handler(run, ctx):
        os.kill(os.getpid(), signal.SIGTERM)
        return "done"

    client = AsyncClient("http://server", "k", project="p", transport=httpx2.MockTransport(server))
    server.add("a")
    Worker(client, handler, kinds=["task"]).run()
    assert server.runs["a"]["status"] == "completed"
