"""The channel of a worker: it learns of a cancel or a pause before its lease is due for renewal."""

import asyncio
import logging
import uuid
from contextlib import AsyncExitStack, aclosing

import pytest

from runstead.commands.worker_channels import WorkerChannels
from runstead.core import limits
from runstead.core.change import Change, StoppedAttempt
from runstead.core.queue.worker import Worker as WorkerRecord
from runstead.engines.notifiers.local import LocalNotifier
from runstead.sdk import AsyncClient, RunsteadError, Worker

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
        for _ in range(2):  # the first run is cancelled before the channel is open, the second after
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


@pytest.fixture
async def channel(client):
    """channel(events=None): (the worker's id, its hints after the first resync)."""
    async with AsyncExitStack() as opened:

        async def open_one(**options):
            worker = (await client.workers.register("python", f"w-{uuid.uuid4()}")).worker.id
            hints = await opened.enter_async_context(aclosing(client.workers.channel(worker, **options)))
            assert (await anext(hints)).type == "resync"
            return worker, hints

        yield open_one


async def held(client, worker, **options):
    """A run that the worker holds."""
    run = (await client.runs.create("task:held", **options)).run
    claimed = (await client.workers.claim(worker, 60, targets=["task:held"])).run
    assert claimed.run_id == run.run_id
    return claimed


async def test_a_channel_has_the_cancels_and_pauses_of_the_runs_that_its_worker_holds(client, channel):
    worker, hints = await channel(events=["run_cancelled", "run_paused"])
    other, _ = await channel()
    theirs = await held(client, other)
    parent = await held(client, worker)
    child = await held(client, worker, parent_run_id=parent.run_id)
    paused = await held(client, worker)
    await client.runs.cancel(theirs.run_id)
    await client.runs.cancel((await client.runs.create("task:queued")).run.run_id)
    await client.runs.pause(paused.run_id)
    one = await anext(hints)
    assert (one.type, one.run_id, one.attempt) == ("run_paused", paused.run_id, 1)
    await client.runs.cancel(parent.run_id)
    found = [await anext(hints) for _ in range(2)]
    assert {(one.type, one.run_id) for one in found} == {
        ("run_cancelled", parent.run_id),
        ("run_cancelled", child.run_id),
    }


async def test_a_channel_has_the_targets_of_runs_that_can_be_claimed(client, channel):
    _, hints = await channel()
    await client.runs.create("task:first")
    one = await anext(hints)
    assert (one.type, one.targets) == ("run_available", ["task:first"])
    for n in range(3):
        await client.runs.create(f"task:t-{n}")
    targets = []
    while len(targets) < 3:
        targets += (await anext(hints)).targets
    assert sorted(targets) == ["task:t-0", "task:t-1", "task:t-2"]


async def test_a_worker_that_is_removed_is_drained_and_its_channel_ends(live, client, channel):
    worker, hints = await channel()
    await client.workers.remove(worker)
    assert (await anext(hints)).type == "worker_draining"
    with pytest.raises(RunsteadError, match="Worker not found"):
        await anext(hints)
    answer = await live.client.get(f"{live.url}/agent-workers/workers/{worker}/channel", headers=live.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_channel_begins_with_the_time_until_a_client_reconnects(live, client):
    worker = (await client.workers.register("python", "raw")).worker.id
    where = f"{live.url}/agent-workers/workers/{worker}/channel"
    async with live.client.stream("GET", where, headers=live.headers) as answer:
        assert (await anext(answer.aiter_text())).startswith("retry: 1000\n")
    refused = await live.client.get(f"{where}?event=run_started", headers=live.headers)
    assert refused.status_code == 400


async def test_hints_that_were_lost_become_one_resync(monkeypatch):
    monkeypatch.setattr(limits, "channel_stops_max", 2)
    notifier, stopping = LocalNotifier(), asyncio.Event()
    channels = WorkerChannels(notifier, stopping)
    worker = WorkerRecord("w", "p", "python", "k", 1, 1)

    async def never():
        return False

    def stop(n):
        change = Change("run.completed", 1, f"r-{n}", None, "cancelled", StoppedAttempt("w", n, "cancel"))
        notifier.publish_changes("p", [change])

    async with aclosing(channels.follow(worker, never)) as pages:
        assert await anext(pages) == []
        for n in range(2):
            stop(n)
        assert [hint.attempt for hint in await anext(pages)] == [0, 1]
        for n in range(3):
            stop(n)
        assert [hint.type for hint in await anext(pages)] == ["resync"]
        for listener in notifier._listeners["p"]:
            listener(None)  # as a notifier whose connection broke
        assert [hint.type for hint in await anext(pages)] == ["resync"]
    assert not notifier.has_listeners("p")
    assert len(notifier) == 0


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
