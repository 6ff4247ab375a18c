import asyncio

import httpx2
import pytest
from hypothesis import given, strategies as st

from runstead.sdk import AsyncClient, Worker, WorkerGroup, WorkerSlots

steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["take", "give"]), st.integers(1, 8)), max_size=60
)


@given(steps, st.integers(4, 9))
def test_no_slot_is_given_out_twice_and_one_is_reserved_for_each_worker(moves, most):
    slots = WorkerSlots(most)
    shares = [slots.share() for _ in range(4)]
    for number, move, count in moves:
        share = shares[number]
        if move == "take":
            share.take(count)
        else:
            share.give_back(min(count, share.held))
        assert sum(one.held for one in shares) <= most
        for one in shares:
            if one.held == 0:
                assert sum(other.held for other in shares) < most  # a worker without a slot finds one


def test_a_free_slot_goes_to_the_worker_with_the_fewest():
    slots = WorkerSlots(4)
    rich, poor = slots.share(), slots.share()
    assert (rich.take(9), poor.take(9), poor.take(9)) == (3, 1, 0)
    rich.give_back(1)
    assert rich.take(1) == 0
    assert poor.changed.is_set()
    assert poor.take(1) == 1


def test_a_single_worker_has_all_slots():
    share = WorkerSlots(4).share()
    assert share.take(100) == 4
    assert not share.shared


def test_more_workers_than_slots_are_refused():
    slots = WorkerSlots(1)
    slots.share()
    with pytest.raises(ValueError, match="not enough for 2 workers"):
        slots.share()


async def test_workers_of_two_projects_share_the_slots_of_the_process(kit):
    """One project has many more runs than slots. The other project's run is started at once nevertheless."""
    time = kit.ManualTime()
    door = asyncio.Event()
    running: list[str] = []

    async def handler(run, ctx):
        running.append(run.run_id)
        await door.wait()

    slots, servers, workers = WorkerSlots(3), [], []
    for name in ("busy", "quiet"):
        server = kit.FakeServer()
        servers.append(server)
        transport = httpx2.MockTransport(server)
        client = AsyncClient("http://server", "k", project=name, transport=transport, sleep=time.sleep)
        workers.append(
            Worker(client, handler, kinds=["task"], slots=slots, clock=time.clock, sleep=time.sleep)
        )
    for number in range(20):
        servers[0].add(f"b{number}")
    fleet = WorkerGroup(workers)
    serving = asyncio.ensure_future(fleet.serve())
    await time.advance(5)
    assert running == ["b0", "b1"]
    servers[1].add("q0")
    await time.advance(0)
    assert running == ["b0", "b1", "q0"]
    fleet.stop()
    door.set()
    await time.advance(30)
    await serving
    assert len(servers[0].completions) + len(servers[1].completions) == 3


async def test_all_workers_stop_when_one_is_refused_permanently(kit):
    time, servers, workers = kit.ManualTime(), [], []
    for name in ("mine", "theirs"):
        servers.append(kit.FakeServer())
        transport = httpx2.MockTransport(servers[-1])
        client = AsyncClient("http://server", "k", project=name, transport=transport, sleep=time.sleep)

        async def handler(run, ctx):
            return None

        workers.append(Worker(client, handler, kinds=["task"], clock=time.clock, sleep=time.sleep))
    servers[1].fail = lambda _name: kit.problem(403, "FORBIDDEN")
    serving = asyncio.ensure_future(WorkerGroup(workers).serve())
    await time.advance(5)
    assert serving.done()
    assert "FORBIDDEN" in str(serving.exception())
