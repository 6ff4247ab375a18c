import asyncio

import httpx2
import pytest
from hypothesis import given, strategies as st

from runstead.sdk import AsyncClient, Worker, WorkerGroup, WorkerSlots

steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["take", "give"]), st.integers(1, 8)), max_size=60
)


@given(steps, st.integers(4, 9))
def test_places_are_never_given_out_twice_and_one_is_kept_for_everybody(moves, most):
    places = WorkerSlots(most)
    seats = [places.seat() for _ in range(4)]
    for number, move, count in moves:
        seat = seats[number]
        if move == "take":
            seat.take(count)
        else:
            seat.give(min(count, seat.held))
        assert sum(one.held for one in seats) <= most
        for one in seats:
            if one.held == 0:
                assert sum(other.held for other in seats) < most  # whoever has none finds one


def test_a_place_that_comes_free_goes_to_whoever_holds_the_fewest():
    places = WorkerSlots(4)
    rich, poor = places.seat(), places.seat()
    assert (rich.take(9), poor.take(9), poor.take(9)) == (3, 1, 0)
    rich.give(1)
    assert rich.take(1) == 0
    assert poor.look.is_set()
    assert poor.take(1) == 1


def test_a_worker_alone_has_all_places():
    seat = WorkerSlots(4).seat()
    assert seat.take(100) == 4
    assert not seat.shared


def test_more_workers_than_places_are_refused():
    places = WorkerSlots(1)
    places.seat()
    with pytest.raises(ValueError, match="not enough for 2 workers"):
        places.seat()


async def test_workers_of_two_projects_share_what_the_process_may_do(kit):
    """One project has far more to do than the process may; the other's run is begun at once all the same."""
    time = kit.ManualTime()
    door = asyncio.Event()
    running: list[str] = []

    async def handler(run, ctx):
        running.append(run.run_id)
        await door.wait()

    places, servers, workers = WorkerSlots(3), [], []
    for name in ("busy", "quiet"):
        server = kit.FakeServer()
        servers.append(server)
        transport = httpx2.MockTransport(server)
        client = AsyncClient("http://server", "k", project=name, transport=transport, sleep=time.sleep)
        workers.append(
            Worker(client, handler, kinds=["task"], places=places, clock=time.clock, sleep=time.sleep)
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


async def test_where_one_worker_is_refused_for_good_all_stop(kit):
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
