"""Keys of runs hold among replicas: of many requests at once, one creates a run."""

import asyncio

from runstead.core.runs.flow import Debounce, Flow, Unique


async def test_two_replicas_create_one_run_of_a_unique_key(replicas):
    drivers = await replicas(2)
    for round_ in range(5):
        flow = Flow(unique=Unique(f"key-{round_}"))
        made = await asyncio.gather(
            *(drivers[n % 2].created(f"run-{round_}-{n}", flow=flow) for n in range(6))
        )
        assert len({one.run.run_id for one in made}) == 1
        assert sum(not one.transition.duplicate for one in made) == 1


async def test_two_replicas_count_each_debounced_request_once(replicas):
    drivers = await replicas(2)
    flow = Flow(debounce=Debounce("report", 60))
    await asyncio.gather(*(drivers[n % 2].created(f"run-{n}", flow=flow) for n in range(12)))
    [run] = await drivers[0].rows()
    assert run.debounced == 11


async def test_creates_of_children_with_the_parents_key_do_not_wait_for_each_other(replicas):
    drivers = await replicas(2)
    flow = Flow(unique=Unique("family"))
    await drivers[0].created("parent", flow=flow)
    await drivers[0].create("other")
    made = await asyncio.gather(
        *(drivers[n % 2].created(f"run-{n}", parent=("parent", "other")[n % 2], flow=flow) for n in range(8))
    )
    assert {one.run.run_id for one in made} == {"parent"}
