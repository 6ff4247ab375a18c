"""claim: which runs a worker gets, in which order, and that no two get the same."""

import asyncio

import pytest

from runstead.core.runs.run import RunStatus


async def agent(desk, run_id, **fields):
    given = {"kind": "agent", "implementation_kind": "python"} | fields
    return await desk.create(run_id, **given)


async def test_the_oldest_comes_first(desk, clock):
    for n in range(4):
        await desk.create(f"run-{n}")
        clock.advance(1)
    assert await desk.claim_ids(limit=2) == ["run-0", "run-1"]
    assert await desk.claim_ids(limit=9) == ["run-2", "run-3"]
    assert await desk.claim_ids(limit=9) == []


async def test_of_equally_old_ones_the_first_created_comes_first(desk):
    for n in range(4):
        await desk.create(f"run-{n}")
    assert await desk.claim_ids(limit=4) == ["run-0", "run-1", "run-2", "run-3"]


async def test_old_is_who_became_available_first_not_who_was_created_first(desk, clock):
    await desk.create("late", available_at=clock.now + 100)
    await desk.create("early")
    clock.advance(200)
    assert await desk.claim_ids(limit=2) == ["early", "late"]


async def test_a_run_is_not_claimed_before_it_is_available(desk, clock):
    await desk.create("run-1", available_at=clock.now + 100)
    clock.advance(99)
    assert await desk.claim_ids() == []
    clock.advance(1)
    assert await desk.claim_ids() == ["run-1"]


async def test_a_claim_is_decided_and_written(desk, clock):
    await desk.create("run-1")
    clock.advance(50)
    [run] = await desk.claim("ann", lease_ms=5_000)
    assert (run.status, run.attempt, run.lease_owner) == (RunStatus.RUNNING, 1, "ann")
    assert (run.lease_expires_at, run.available_at) == (clock.now + 5_000, None)
    assert run == await desk.row("run-1")


async def test_one_is_claimed_unless_more_are_asked_for(desk):
    await desk.create("run-1")
    await desk.create("run-2")
    assert await desk.claim_ids() == ["run-1"]


async def test_only_the_projects_own_runs_are_claimed(desk):
    await desk.create("theirs", project_id="p-2")
    assert await desk.claim_ids(limit=9) == []
    assert await desk.claim_ids(limit=9, project_id="p-2") == ["theirs"]


async def test_only_the_kinds_asked_for_are_claimed(desk):
    for kind in ("task", "workflow", "eval"):
        await desk.create(kind, kind=kind)
    assert await desk.claim_ids(kinds=("workflow",), limit=9) == ["workflow"]
    assert await desk.claim_ids(kinds=(), limit=9) == []
    assert await desk.claim_ids(kinds=("eval", "task"), limit=9) == ["task", "eval"]


async def test_oldest_first_holds_across_kinds(desk, clock):
    kinds = ("eval", "task", "workflow", "task", "eval")
    for n, kind in enumerate(kinds):
        await desk.create(f"run-{n}", kind=kind)
        clock.advance(1)
    assert await desk.claim_ids(kinds=("task", "workflow", "eval"), limit=3) == ["run-0", "run-1", "run-2"]


async def test_without_targets_every_target_will_do(desk):
    await desk.create("a", target="task:a")
    await desk.create("none")
    assert await desk.claim_ids(limit=9) == ["a", "none"]


async def test_only_the_targets_asked_for_are_claimed(desk):
    for name in ("a", "b", "c"):
        await desk.create(name, target=f"task:{name}")
    await desk.create("none")
    await desk.create("other-kind", kind="eval", target="task:a")
    assert await desk.claim_ids(targets=("task:c", "task:a", "task:z"), limit=9) == ["a", "c"]
    assert await desk.claim_ids(targets=("task:z",), limit=9) == []


async def test_oldest_first_holds_across_targets(desk, clock):
    for n in range(6):
        await desk.create(f"run-{n}", target=f"task:{n % 3}")
        clock.advance(1)
    targets = ("task:2", "task:0", "task:1")
    assert await desk.claim_ids(targets=targets, limit=4) == ["run-0", "run-1", "run-2", "run-3"]


async def test_naming_a_kind_or_target_twice_claims_nothing_twice(desk):
    for n in range(3):
        await desk.create(f"run-{n}", target="task:a")
    twice = {"kinds": ("task", "task"), "targets": ("task:a", "task:a")}
    assert await desk.claim_ids(**twice, limit=2) == ["run-0", "run-1"]
    assert await desk.claim_ids(kinds=("task", "task"), limit=9) == ["run-2"]


async def test_an_agent_run_needs_its_implementation_kind(desk):
    await agent(desk, "python")
    await agent(desk, "node", implementation_kind="node")
    assert await desk.claim_ids(kinds=("agent",), limit=9) == []
    assert await desk.claim_ids(kinds=("agent",), implementation_kind="node", limit=9) == ["node"]
    assert await desk.claim_ids(kinds=("agent",), implementation_kind="ruby", limit=9) == []
    assert await desk.claim_ids(kinds=("task",), implementation_kind="python", limit=9) == []


async def test_an_agent_run_without_implementation_kind_is_for_no_worker(desk):
    await agent(desk, "driven", implementation_kind=None)
    assert await desk.claim_ids(kinds=("agent",), implementation_kind="python", limit=9) == []


async def test_an_agent_runs_worker_key_is_null_or_the_workers(desk):
    await agent(desk, "anyone")
    await agent(desk, "mine", worker_key="w-1")
    await agent(desk, "theirs", worker_key="w-2")
    query = {"kinds": ("agent",), "implementation_kind": "python", "limit": 9}
    assert await desk.claim_ids(**query, worker_key="w-1") == ["anyone", "mine"]
    assert await desk.claim_ids(**query) == []
    assert await desk.claim_ids(**query, worker_key="w-2") == ["theirs"]


async def test_oldest_first_holds_across_worker_keys(desk, clock):
    for n in range(4):
        await agent(desk, f"run-{n}", worker_key="w-1" if n % 2 else None)
        clock.advance(1)
    query = {"kinds": ("agent",), "implementation_kind": "python", "worker_key": "w-1"}
    assert await desk.claim_ids(**query, limit=3) == ["run-0", "run-1", "run-2"]


async def test_targets_choose_among_agent_runs_too(desk):
    await agent(desk, "a", target="agent:a")
    await agent(desk, "b", target="agent:b")
    query = {"kinds": ("agent", "task"), "implementation_kind": "python", "limit": 9}
    assert await desk.claim_ids(**query, targets=("agent:b",)) == ["b"]


async def test_a_worker_key_is_no_condition_for_other_kinds(desk):
    await desk.create("run-1", worker_key="w-1")
    assert await desk.claim_ids(worker_key="w-2") == ["run-1"]


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_run_that_has_ended_is_not_claimed(desk, end):
    await desk.create("run-1")
    await desk.complete("run-1", end)
    assert await desk.claim_ids() == []


async def test_a_waiting_run_is_not_claimed_until_it_resumes(desk):
    await desk.create("run-1")
    await desk.wait("run-1")
    assert await desk.claim_ids() == []
    await desk.resume("run-1")
    assert await desk.claim_ids() == ["run-1"]


async def test_a_run_under_a_cancelled_one_is_not_claimed(desk):
    await desk.create("root")
    await desk.create("child", parent="root")
    await desk.cancel("root")
    assert await desk.claim_ids(limit=9) == []


async def test_a_released_run_is_claimed_again_after_its_pause(desk, clock):
    await desk.create("run-1")
    await desk.claim()
    await desk.release("run-1", retry_after_ms=500)
    assert await desk.claim_ids() == []
    clock.advance(500)
    [run] = await desk.claim()
    assert (run.attempt, run.lease_token) == (2, "run-1#2")


async def test_a_run_that_its_driver_started_may_still_be_claimed(desk, event):
    await desk.create("run-1")
    await desk.append("run-1", event("RUN_STARTED"))
    assert (await desk.row("run-1")).status is RunStatus.RUNNING
    assert await desk.claim_ids() == ["run-1"]


async def test_concurrent_claims_never_get_the_same_run(desk):
    await asyncio.gather(*(desk.create(f"run-{n}", kind=("task", "eval")[n % 2]) for n in range(60)))
    claims = [desk.claim(f"w-{n}", kinds=("task", "eval"), limit=1 + n % 4) for n in range(40)]
    got = [run for claimed in await asyncio.gather(*claims) for run in claimed]
    assert len(got) == 60
    assert len({run.run_id for run in got}) == 60
    assert {run.attempt for run in got} == {1}


async def test_concurrent_claims_take_the_oldest(desk):
    await asyncio.gather(*(desk.create(f"run-{n}") for n in range(20)))
    first_ten = {run.run_id for run in (await desk.rows())[:10]}
    claimed = await asyncio.gather(*(desk.claim_ids() for _ in range(10)))
    assert {run_id for [run_id] in claimed} == first_ten


async def test_a_claim_that_breaks_takes_nothing(desk, sealed):
    await desk.create("run-1")
    await desk.create("run-2")

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await desk.claim(limit=2, seal=sealed(render=broken))
    assert await desk.claim_ids(limit=9) == ["run-1", "run-2"]


async def test_a_renewed_lease_keeps_the_run(desk, clock):
    await desk.create("run-1")
    await desk.claim("ann", lease_ms=5_000)
    clock.advance(4_000)
    assert (await desk.renew("run-1", worker="ann")).transition.accepted
    clock.advance(4_000)
    assert await desk.referee() == []
    assert not (await desk.renew("run-1", worker="bob")).transition.accepted
