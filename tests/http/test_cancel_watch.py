"""A worker learns of a cancel from the project's notifications, before its lease is due for renewal."""

import asyncio
import logging
from contextlib import aclosing

import pytest

from runstead.sdk import AsyncClient, Worker

LEASE_S = 300  # its renewal after 100 s would be too late for these tests


@pytest.fixture
async def client(live):
    async with AsyncClient(live.url, live.headers["Authorization"].split()[1], project="default") as client:
        yield client


@pytest.fixture
async def silent(client):
    """A worker whose handler sends nothing: (begun, ended), queues of run ids."""
    begun, ended = asyncio.Queue(), asyncio.Queue()

    async def handler(run, ctx):
        begun.put_nowait(run.run_id)
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(run.run_id)

    worker = Worker(client, handler, kinds=["task"], lease_seconds=LEASE_S, grace_seconds=0)
    serving = asyncio.create_task(worker.serve())
    yield begun, ended
    worker.stop()
    await serving


async def cancelled(client, run_id, ended):
    await client.runs.cancel(run_id)
    async with asyncio.timeout(30):
        assert await ended.get() == run_id


async def test_a_silent_handler_learns_of_a_cancel_before_its_lease_is_renewed(client, silent, caplog):
    begun, ended = silent
    with caplog.at_level(logging.INFO, "runstead.sdk.worker.worker"):
        for _ in range(2):  # the first run is cancelled before the worker follows cancels, the second after
            run = (await client.runs.create("task:silent")).run
            await begun.get()
            await cancelled(client, run.run_id, ended)
            while f"Run {run.run_id} was cancelled" not in caplog.messages:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)
    assert not [one for one in caplog.records if one.levelno > logging.INFO]


async def test_a_cancel_ends_that_run_alone_also_as_a_descendant(client, silent):
    begun, ended = silent
    parent = (await client.runs.create("task:silent")).run
    child = (await client.runs.create("task:silent", parent_run_id=parent.run_id)).run
    other = (await client.runs.create("task:silent")).run
    assert {await begun.get() for _ in range(3)} == {parent.run_id, child.run_id, other.run_id}
    await client.runs.cancel(parent.run_id)
    async with asyncio.timeout(30):
        assert {await ended.get() for _ in range(2)} == {parent.run_id, child.run_id}
    assert ended.empty()


async def test_a_follower_of_one_status_gets_only_changes_to_it(live, client):
    done, gone = [(await client.runs.create("task:t")).run.run_id for _ in range(2)]
    async with aclosing(client.notifications.follow(after="none", status="cancelled")) as found:
        assert (await anext(found)).type == "resync"  # the stream is open
        await client.runs.complete(done)
        await client.runs.cancel(gone)
        one = await anext(found)
    assert (one.type, one.run_id, one.status) == ("run.completed", gone, "cancelled")
    refused = await live.client.get(
        f"{live.url}/projects/default/notifications", params={"status": "stopped"}, headers=live.headers
    )
    assert refused.status_code == 400
