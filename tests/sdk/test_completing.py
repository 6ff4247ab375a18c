"""Runs whose handler is done and whose completion is being sent: the slot is free, and the lease is kept."""

import asyncio

import httpx2
import pytest

from runstead.sdk import WorkerSlots


@pytest.fixture
def begun():
    return []


@pytest.fixture
def quick(begun):
    async def handler(run, ctx):
        begun.append(run.run_id)

    return handler


def refuses_completions(kit):
    return lambda name: kit.problem(503, "STORE_BUSY") if name.endswith("/complete") else None


async def test_the_next_run_is_claimed_while_a_completion_is_sent(harness, kit, quick, begun):
    b = harness(quick, concurrency=1)
    b.server.fail = refuses_completions(kit)
    for name in "abc":
        b.server.add(name)
    await b.time.advance(20)
    assert begun == ["a", "b"], "as many completions are being sent as there are slots"
    assert b.server.queue == ["c"]
    b.server.fail = lambda _name: None
    await b.time.advance(20)
    assert sorted(run_id for run_id, _ in b.server.completions) == ["a", "b", "c"]
    assert begun == ["a", "b", "c"]
    await b.stop()


async def test_a_run_keeps_its_lease_while_its_completion_is_sent(harness, kit, quick):
    b = harness(quick, lease_seconds=30)
    b.server.fail = refuses_completions(kit)
    b.server.add("a")
    await b.time.advance(95)
    assert b.server.heartbeats == ["a"] * 9
    b.server.fail = lambda _name: None
    await b.time.advance(30)
    assert len(b.server.heartbeats) <= 11
    assert [run_id for run_id, _ in b.server.completions] == ["a"]
    await b.stop()


async def test_a_run_that_another_worker_has_taken_meanwhile_is_not_completed(harness, kit, quick):
    b = harness(quick, concurrency=1)
    b.server.fail = refuses_completions(kit)
    b.server.add("a")
    await b.time.advance(5)
    b.server.runs["a"].update(attempt=2, token="lease-a-2")
    b.server.fail = lambda _name: None
    await b.time.advance(30)
    assert b.server.completions == []
    assert b.server.releases == []
    assert b.worker._jobs == {}
    await b.stop()


async def test_a_stop_waits_for_completions_as_for_handlers(harness, kit, quick):
    b = harness(quick, grace_seconds=30)
    b.server.fail = refuses_completions(kit)
    b.server.add("a")
    await b.time.advance(5)
    b.worker.stop()
    await b.time.advance(10)
    assert not b.serving.done()
    b.server.fail = lambda _name: None
    await b.time.advance(10)
    assert b.serving.done()
    assert [run_id for run_id, _ in b.server.completions] == ["a"]


async def test_past_the_grace_a_run_that_could_not_be_completed_is_released(harness, kit, quick):
    b = harness(quick, grace_seconds=30)
    b.server.fail = refuses_completions(kit)
    b.server.add("a")
    await b.time.advance(5)
    b.worker.stop()
    await b.time.advance(29)
    assert b.server.releases == []
    await b.time.advance(20)
    assert b.serving.done()
    assert [run_id for run_id, _ in b.server.releases] == ["a"]


async def test_the_concurrency_is_never_exceeded_however_fast_runs_end(harness, kit):
    under_way, most = 0, 0

    async def handler(run, ctx):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    b = harness(handler, concurrency=3)
    for number in range(50):
        b.server.add(f"r{number}")
    await b.time.advance(5)
    assert most == 3
    assert {run["status"] for run in b.server.runs.values()} == {"completed"}
    assert len(b.server.completions) == 50
    await b.stop()


def test_slots_are_given_back_early_for_as_many_runs_as_there_are_slots():
    slots = WorkerSlots(2)
    one, other = slots.share(), slots.share()
    assert (one.take(9), other.take(9)) == (1, 1)
    assert one.give_back_early()
    assert other.give_back_early()
    assert (one.take(9), other.take(9)) == (1, 1)
    assert not one.give_back_early()
    assert one.held == 1
    other.completed()
    assert one.give_back_early()


# Leases


async def test_one_loop_renews_the_leases_of_all_runs(harness):
    async def forever(run, ctx):
        await asyncio.Event().wait()

    b = harness(forever, concurrency=60, lease_seconds=30)
    await b.time.advance(0)
    idle = len(b.time._sleepers)
    for number in range(60):
        b.server.add(f"r{number}")
    await b.time.advance(5)
    assert len(b.time._sleepers) <= idle + 2
    await b.time.advance(6)
    assert sorted(b.server.heartbeats) == sorted(b.server.runs)
    await b.time.advance(10)
    assert len(b.server.heartbeats) == 120
    b.worker.stop()
    await b.stop()


async def test_leases_taken_one_after_another_are_each_renewed_on_time(harness):
    async def forever(run, ctx):
        await asyncio.Event().wait()

    b = harness(forever, concurrency=60, lease_seconds=30)
    for name in "abc":
        b.server.add(name)
        await b.time.advance(3)
    await b.time.advance(2)
    assert b.server.heartbeats == ["a"]
    await b.time.advance(3)
    assert b.server.heartbeats == ["a", "b"]
    b.server.runs["b"]["status"] = "cancelled"
    await b.time.advance(9)
    assert b.server.heartbeats == ["a", "b", "c", "a", "b"]
    await b.time.advance(10)
    assert b.server.heartbeats.count("b") == 2, "a lost lease is not renewed"
    await b.stop()


async def test_the_lease_of_one_run_is_renewed_while_the_renewal_of_another_hangs(harness):
    async def forever(run, ctx):
        await asyncio.Event().wait()

    b = harness(forever, concurrency=2, lease_seconds=30)
    answer = b.server.__call__

    async def hangs_for_a(request):
        if request.url.path == "/runs/a/heartbeats":
            await asyncio.Event().wait()
        return await answer(request)

    b.client._transport._http = httpx2.AsyncClient(transport=httpx2.MockTransport(hangs_for_a))
    b.server.add("a")
    b.server.add("b")
    await b.time.advance(35)
    assert b.server.heartbeats == ["b"] * 3
    assert [job.run.run_id for job in b.worker._jobs.values()] == ["b"]
    await b.stop()
