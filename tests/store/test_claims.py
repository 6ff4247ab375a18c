"""claim: which runs a worker gets, in which order, and that no two get the same."""

import asyncio

import pytest

from runstead.core import limits
from runstead.core.queue.worker import VersionCount
from runstead.core.runs.run import RunStatus
from tests.support.store_driver import PROJECT


async def agent(driver, run_id, **fields):
    given = {"kind": "agent", "implementation_kind": "python"} | fields
    return await driver.create(run_id, **given)


async def test_the_oldest_comes_first(driver, clock):
    for n in range(4):
        await driver.create(f"run-{n}")
        clock.advance_ms(1)
    assert await driver.claim_ids(limit=2) == ["run-0", "run-1"]
    assert await driver.claim_ids(limit=9) == ["run-2", "run-3"]
    assert await driver.claim_ids(limit=9) == []


async def test_of_equally_old_ones_the_first_created_comes_first(driver):
    for n in range(4):
        await driver.create(f"run-{n}")
    assert await driver.claim_ids(limit=4) == ["run-0", "run-1", "run-2", "run-3"]


async def test_old_is_who_became_available_first_not_who_was_created_first(driver, clock):
    await driver.create("late", available_at=clock.now + 100)
    await driver.create("early")
    clock.advance_ms(200)
    assert await driver.claim_ids(limit=2) == ["early", "late"]


async def test_a_run_is_not_claimed_before_it_is_available(driver, clock):
    await driver.create("run-1", available_at=clock.now + 100)
    clock.advance_ms(99)
    assert await driver.claim_ids() == []
    clock.advance_ms(1)
    assert await driver.claim_ids() == ["run-1"]


async def test_a_claim_is_decided_and_written(driver, clock):
    await driver.create("run-1")
    clock.advance_ms(50)
    [run] = await driver.claim("ann", lease_ms=5_000)
    assert (run.status, run.attempt, run.lease_owner) == (RunStatus.RUNNING, 1, "ann")
    assert (run.lease_expires_at, run.available_at) == (clock.now + 5_000, None)
    assert run == await driver.row("run-1")


async def test_one_is_claimed_unless_more_are_asked_for(driver):
    await driver.create("run-1")
    await driver.create("run-2")
    assert await driver.claim_ids() == ["run-1"]


async def test_only_the_projects_own_runs_are_claimed(driver):
    await driver.create("theirs", project_id="p-2")
    assert await driver.claim_ids(limit=9) == []
    assert await driver.claim_ids(limit=9, project_id="p-2") == ["theirs"]


async def test_only_the_kinds_asked_for_are_claimed(driver):
    for kind in ("task", "workflow", "eval"):
        await driver.create(kind, kind=kind)
    assert await driver.claim_ids(kinds=("workflow",), limit=9) == ["workflow"]
    assert await driver.claim_ids(kinds=(), limit=9) == []
    assert await driver.claim_ids(kinds=("eval", "task"), limit=9) == ["task", "eval"]


async def test_oldest_first_holds_across_kinds(driver, clock):
    kinds = ("eval", "task", "workflow", "task", "eval")
    for n, kind in enumerate(kinds):
        await driver.create(f"run-{n}", kind=kind)
        clock.advance_ms(1)
    assert await driver.claim_ids(kinds=("task", "workflow", "eval"), limit=3) == ["run-0", "run-1", "run-2"]


async def test_without_targets_every_target_will_do(driver):
    await driver.create("a", target="task:a")
    await driver.create("none")
    assert await driver.claim_ids(limit=9) == ["a", "none"]


async def test_only_the_targets_asked_for_are_claimed(driver):
    for name in ("a", "b", "c"):
        await driver.create(name, target=f"task:{name}")
    await driver.create("none")
    await driver.create("other-kind", kind="eval", target="task:a")
    assert await driver.claim_ids(targets=("task:c", "task:a", "task:z"), limit=9) == ["a", "c"]
    assert await driver.claim_ids(targets=("task:z",), limit=9) == []


async def test_oldest_first_holds_across_targets(driver, clock):
    for n in range(6):
        await driver.create(f"run-{n}", target=f"task:{n % 3}")
        clock.advance_ms(1)
    targets = ("task:2", "task:0", "task:1")
    assert await driver.claim_ids(targets=targets, limit=4) == ["run-0", "run-1", "run-2", "run-3"]


async def test_naming_a_kind_or_target_twice_claims_nothing_twice(driver):
    for n in range(3):
        await driver.create(f"run-{n}", target="task:a")
    twice = {"kinds": ("task", "task"), "targets": ("task:a", "task:a")}
    assert await driver.claim_ids(**twice, limit=2) == ["run-0", "run-1"]
    assert await driver.claim_ids(kinds=("task", "task"), limit=9) == ["run-2"]


async def test_an_agent_run_needs_its_implementation_kind(driver):
    await agent(driver, "python")
    await agent(driver, "node", implementation_kind="node")
    assert await driver.claim_ids(kinds=("agent",), limit=9) == []
    assert await driver.claim_ids(kinds=("agent",), implementation_kind="node", limit=9) == ["node"]
    assert await driver.claim_ids(kinds=("agent",), implementation_kind="ruby", limit=9) == []
    assert await driver.claim_ids(kinds=("task",), implementation_kind="python", limit=9) == []


async def test_an_agent_run_without_implementation_kind_is_for_no_worker(driver):
    await agent(driver, "driven", implementation_kind=None)
    assert await driver.claim_ids(kinds=("agent",), implementation_kind="python", limit=9) == []


async def test_an_agent_runs_worker_key_is_null_or_the_workers(driver):
    await agent(driver, "anyone")
    await agent(driver, "mine", worker_key="w-1")
    await agent(driver, "theirs", worker_key="w-2")
    query = {"kinds": ("agent",), "implementation_kind": "python", "limit": 9}
    assert await driver.claim_ids(**query, worker_key="w-1") == ["anyone", "mine"]
    assert await driver.claim_ids(**query) == []
    assert await driver.claim_ids(**query, worker_key="w-2") == ["theirs"]


async def test_oldest_first_holds_across_worker_keys(driver, clock):
    for n in range(4):
        await agent(driver, f"run-{n}", worker_key="w-1" if n % 2 else None)
        clock.advance_ms(1)
    query = {"kinds": ("agent",), "implementation_kind": "python", "worker_key": "w-1"}
    assert await driver.claim_ids(**query, limit=3) == ["run-0", "run-1", "run-2"]


async def test_targets_choose_among_agent_runs_too(driver):
    await agent(driver, "a", target="agent:a")
    await agent(driver, "b", target="agent:b")
    query = {"kinds": ("agent", "task"), "implementation_kind": "python", "limit": 9}
    assert await driver.claim_ids(**query, targets=("agent:b",)) == ["b"]


async def test_a_worker_key_is_no_condition_for_other_kinds(driver):
    await driver.create("run-1", worker_key="w-1")
    assert await driver.claim_ids(worker_key="w-2") == ["run-1"]


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_run_that_has_ended_is_not_claimed(driver, end):
    await driver.create("run-1")
    await driver.complete("run-1", end)
    assert await driver.claim_ids() == []


async def test_a_waiting_run_is_not_claimed_until_it_resumes(driver):
    await driver.create("run-1")
    await driver.wait("run-1")
    assert await driver.claim_ids() == []
    await driver.resume("run-1")
    assert await driver.claim_ids() == ["run-1"]


async def test_a_run_under_a_cancelled_one_is_not_claimed(driver):
    await driver.create("root")
    await driver.create("child", parent="root")
    await driver.cancel("root")
    assert await driver.claim_ids(limit=9) == []


async def test_a_released_run_is_claimed_again_after_its_pause(driver, clock):
    await driver.create("run-1")
    await driver.claim()
    await driver.release("run-1", retry_after_ms=500)
    assert await driver.claim_ids() == []
    clock.advance_ms(500)
    [run] = await driver.claim()
    assert (run.attempt, run.lease_token) == (2, "run-1#2")


async def test_a_run_that_its_driver_started_may_still_be_claimed(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event("RUN_STARTED"))
    assert (await driver.row("run-1")).status is RunStatus.RUNNING
    assert await driver.claim_ids() == ["run-1"]


async def test_concurrent_claims_never_get_the_same_run(driver):
    await asyncio.gather(*(driver.create(f"run-{n}", kind=("task", "eval")[n % 2]) for n in range(60)))
    claims = [driver.claim(f"w-{n}", kinds=("task", "eval"), limit=1 + n % 4) for n in range(40)]
    got = [run for claimed in await asyncio.gather(*claims) for run in claimed]
    assert len(got) == 60
    assert len({run.run_id for run in got}) == 60
    assert {run.attempt for run in got} == {1}


async def test_concurrent_claims_take_the_oldest(driver):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(20)))
    first_ten = {run.run_id for run in (await driver.rows())[:10]}
    claimed = await asyncio.gather(*(driver.claim_ids() for _ in range(10)))
    assert {run_id for [run_id] in claimed} == first_ten


async def test_a_claim_that_breaks_takes_nothing(driver, idempotent):
    await driver.create("run-1")
    await driver.create("run-2")

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await driver.claim(limit=2, idempotency=idempotent(render=broken))
    assert await driver.claim_ids(limit=9) == ["run-1", "run-2"]


async def test_a_renewed_lease_keeps_the_run(driver, clock):
    await driver.create("run-1")
    await driver.claim("ann", lease_ms=5_000)
    clock.advance_ms(4_000)
    assert (await driver.renew("run-1", worker="ann")).transition.accepted
    clock.advance_ms(4_000)
    assert await driver.enforce_deadlines() == []
    assert not (await driver.renew("run-1", worker="bob")).transition.accepted


async def test_a_claim_of_runs_with_large_inputs_ends_by_bytes_and_the_next_one_goes_on(
    driver, engine, monkeypatch
):
    """By a small bound. The order is kept, and a run that alone exceeds the bound is claimed alone."""
    monkeypatch.setattr(limits, "claim_bytes_max", 100_000)
    monkeypatch.setattr(limits, "claim_rows_unmeasured_max", 2)
    sizes = [10, 40_000, 40_000, 40_000, 10, 150_000, 10, 10, 10]
    for number, size in enumerate(sizes):
        await driver.create(f"run-{number}", input=b'"' + b"x" * size + b'"')
    if engine == "sqlite":
        await driver.store._writer.do(lambda *_: driver.store._writer.cache.clear())  # they are read
    claims = []
    while ids := await driver.claim_ids(limit=9):
        claims.append(ids)
    assert [run_id for ids in claims for run_id in ids] == [f"run-{number}" for number in range(9)]
    assert 3 <= len(claims) <= 5
    for ids in claims:
        total = sum(sizes[int(run_id.removeprefix("run-"))] for run_id in ids)
        assert total <= 100_000 + 2 * 40_000 or len(ids) == 1
    assert len((await driver.row("run-5")).input) == 150_002  # nothing of it is lost


async def test_a_pinned_run_is_claimed_by_workers_of_its_version_only(driver, clock):
    for n, fields in enumerate(({"pinned": True}, {}, {"pinned": True, "target": "task:b"})):
        await driver.create(f"run-{n}", backoff_limit=9, **fields)
    first = await driver.claim("ann", limit=2, version="v1")
    assert [(run.run_id, run.worker_version, bool(run.pinned)) for run in first] == [
        ("run-0", "v1", True),
        ("run-1", "v1", False),
    ]
    [pinned] = await driver.claim("ann", version="v1", targets=("task:b",), kinds=("task",))
    assert pinned.pinned_to == "v1"
    for run in (*first, pinned):
        await driver.release(run.run_id, retry_after_ms=1_000)
    assert await driver.claim_ids(version="v1", limit=9) == [], "they are delayed"
    clock.advance_ms(1_000)
    # A run that is not pinned moves on, and keeps the version of its first attempt.
    for version in ("v2", None):
        [moved] = await driver.claim("bob", version=version, limit=9)
        assert (moved.run_id, moved.worker_version) == ("run-1", "v1")
        await driver.release("run-1", retry_after_ms=0)
    assert await driver.claim_ids(version="v1", targets=("task:b",)) == ["run-2"]
    assert await driver.claim_ids(version="v1", limit=9) == ["run-0", "run-1"]


async def test_the_versions_that_workers_and_runs_have(driver):
    for n in range(4):
        await driver.create(f"run-{n}", pinned=n < 2 or None)
    await driver.claim("ann", limit=3, version="v1")
    await driver.wait("run-0", "event")
    await driver.release("run-1", retry_after_ms=60_000)
    counts = await driver.store.workers.versions(PROJECT)
    assert counts == [
        VersionCount("v1", runs_pending=1, runs_running=1, runs_waiting=1, pinned=2),
    ]


async def test_a_pinned_agent_run_is_claimed_by_its_implementation(driver):
    await agent(driver, "run-1", worker_key="w-1", target="agent:a", pinned=True, backoff_limit=9)
    query = {"kinds": ("agent",), "implementation_kind": "python", "worker_key": "w-1"}
    await driver.claim("ann", version="v1", **query)
    await driver.release("run-1", retry_after_ms=0)
    assert await driver.claim_ids(version="v2", **query) == []
    assert await driver.claim_ids(version="v1", targets=("agent:b",), **query) == []
    assert await driver.claim_ids(version="v1", targets=("agent:a",), **query) == ["run-1"]
    await driver.release("run-1", retry_after_ms=0)
    assert await driver.claim_ids(version="v1", **query | {"worker_key": "w-2"}) == []
    assert await driver.claim_ids(version="v1", **query) == ["run-1"]
    await driver.pause("run-1")
    await driver.resume("run-1", "unpause", call=None)
    assert await driver.claim_ids(version="v2", **query) == []
    assert await driver.claim_ids(version="v1", **query) == ["run-1"]
