"""enforce_deadlines: each run whose deadline has passed is decided and written."""

import pytest

from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus


async def test_only_runs_that_are_due_are_decided(driver, clock):
    for run_id, lease_ms in [("short", 5_000), ("long", 9_000)]:
        await driver.create(run_id)
        await driver.claim(lease_ms=lease_ms)
    await driver.create("idle")
    clock.advance_ms(4_999)
    assert await driver.enforce_deadlines() == []
    clock.advance_ms(1)
    assert [written.run.run_id for written in await driver.enforce_deadlines()] == ["short"]
    assert (await driver.row("long")).status is RunStatus.RUNNING


async def test_the_soonest_deadline_is_known(driver, clock):
    assert await driver.runs.next_due() is None
    for run_id, lease_ms, project_id in [("long", 9_000, "p-1"), ("short", 5_000, "p-2")]:
        await driver.create(run_id, project_id=project_id)
        await driver.claim(lease_ms=lease_ms, project_id=project_id)
    assert await driver.runs.next_due() == 5_000
    clock.advance_ms(5_001)
    assert await driver.runs.next_due() == 0
    await driver.enforce_deadlines()
    assert await driver.runs.next_due() == 3_999


async def test_what_was_decided_is_written(driver, clock):
    run = await driver.create("run-1")
    await driver.claim("ann", lease_ms=5_000)
    clock.advance_ms(5_000)
    [written] = await driver.enforce_deadlines(dice=0.0)
    assert written.run == await driver.row("run-1")
    assert written.run.status is RunStatus.PENDING
    assert written.run.available_at == clock.now + 500
    assert written.transition.ended is not None
    assert [a.outcome for a in (await driver.runs.attempts(run.seq)).rows] == ["lease_expired"]


async def test_a_decided_run_is_not_decided_again(driver, clock):
    await driver.create("run-1")
    await driver.claim(lease_ms=5_000)
    clock.advance_ms(5_000)
    assert len(await driver.enforce_deadlines()) == 1
    assert await driver.enforce_deadlines() == []


async def test_the_soonest_due_come_first_up_to_the_limit(driver, clock):
    for n, lease_ms in enumerate([9_000, 5_000, 8_000, 6_000, 7_000]):
        await driver.create(f"run-{n}")
        await driver.claim(lease_ms=lease_ms)
    clock.advance_ms(60_000)
    decided = []
    while batch := await driver.enforce_deadlines(2):
        assert len(batch) <= 2
        decided += [written.run.run_id for written in batch]
    assert decided == ["run-1", "run-3", "run-4", "run-2", "run-0"]


async def test_runs_of_every_project_are_looked_at(driver, clock):
    for project_id in ("p-1", "p-2"):
        await driver.create("run-1", project_id=project_id)
        await driver.claim(project_id=project_id, lease_ms=5_000)
    clock.advance_ms(5_000)
    assert {written.run.project_id for written in await driver.enforce_deadlines()} == {"p-1", "p-2"}


async def test_a_run_whose_attempts_are_used_up_fails_with_its_event(driver, clock):
    await driver.create("run-1", backoff_limit=0)
    await driver.claim("ann", lease_ms=5_000)
    clock.advance_ms(5_000)
    [written] = await driver.enforce_deadlines()
    assert written.run.status is RunStatus.FAILED
    assert [e.type for e in await driver.log("run-1")] == ["RUN_ERROR"]


async def test_a_timeout_ends_the_attempt(driver, clock):
    run = await driver.create("run-1", timeout_seconds=2, backoff_limit=1)
    await driver.claim(lease_ms=60_000)
    clock.advance_ms(2_000)
    await driver.enforce_deadlines()
    assert [a.outcome for a in (await driver.runs.attempts(run.seq)).rows] == ["timeout"]


async def test_a_wait_that_expires_fails_the_run(driver, clock):
    await driver.create("run-1")
    await driver.wait("run-1", expires_at=clock.now + 1_000)
    clock.advance_ms(1_000)
    [written] = await driver.enforce_deadlines()
    assert written.run.status is RunStatus.FAILED


async def test_a_timer_resumes_the_run(driver, clock):
    await driver.create("run-1")
    await driver.wait("run-1", "event", resume_at=clock.now + 1_000)
    clock.advance_ms(1_000)
    [written] = await driver.enforce_deadlines()
    assert written.run.status is RunStatus.RUNNING
    assert await driver.claim_ids() == ["run-1"]


async def test_a_worker_that_never_stopped_is_counted_as_stopped(driver, clock):
    await driver.create("run-1")
    await driver.claim(lease_ms=5_000)
    await driver.cancel("run-1")
    clock.advance_ms(5_000)
    [written] = await driver.enforce_deadlines()
    assert written.run.status is RunStatus.CANCELLED
    assert (await driver.row("run-1")).cancel_stopped_at == clock.now


@pytest.mark.parametrize("parent_first", [True, False])
async def test_parent_and_child_due_at_once_keep_the_counters_right(driver, clock, parent_first):
    await driver.create("root", backoff_limit=0)
    await driver.claim(lease_ms=6_000 if parent_first else 7_000)
    await driver.create("child", parent="root", backoff_limit=0)
    await driver.claim(lease_ms=7_000 if parent_first else 6_000)
    clock.advance_ms(60_000)
    assert len(await driver.enforce_deadlines()) == 2
    root = await driver.row("root")
    assert root.status is RunStatus.FAILED
    assert (root.descendants_total, root.descendants_active) == (1, 0)


async def test_the_end_of_an_awaited_run_is_found(driver, clock):
    await driver.create("above")
    await driver.create("below", parent="above")
    await driver.create("beside", parent="above")
    marked = await driver.change("below", lambda to: transitions.mark_awaited(to.run, now=to.now))
    assert marked.run == await driver.row("below")
    assert marked.run.awaited_at == clock.now
    await driver.wait("above", "event", call="run:below", waiting_run_id="below")
    assert (await driver.row("above")).waiting_run_id == "below"
    for run_id in ("below", "beside"):
        await driver.complete(run_id)
    [written] = await driver.enforce_deadlines()
    assert (written.run.run_id, written.before.terminal) == ("below", True)
    assert await driver.enforce_deadlines() == []
    await driver.change("above", lambda to: transitions.resume_parent(to.run, now=to.now, child=written.run))
    await driver.change("below", lambda to: transitions.clear_awaited(to.run))
    above = await driver.row("above")
    assert (above.status, above.waiting_run_id) == (RunStatus.RUNNING, None)
    assert (await driver.log("above"))[-1].type == "CUSTOM"
    clock.advance_ms(86_400_000)
    assert await driver.enforce_deadlines() == []


async def test_a_cancelled_parent_is_not_resumed(driver, clock):
    await driver.create("above")
    await driver.create("below", parent="above")
    await driver.change("below", lambda to: transitions.mark_awaited(to.run, now=to.now))
    await driver.wait("above", "event", call="run:below", waiting_run_id="below")
    await driver.cancel("above")
    [written] = await driver.enforce_deadlines()
    assert written.run.run_id == "below"
    assert written.run.awaited_at > clock.now
