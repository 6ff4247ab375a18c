"""Schedules in every store: they are stored, count the runs that they start, and record their outcomes."""

import asyncio
import uuid

import pytest
from msgspec.structs import replace

from runstead.core.errors import Error, not_found
from runstead.core.idempotency import ReplayedResponse
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Transition, Want
from runstead.core.runs.transitions import Firing, fire, fire_due
from runstead.core.schedules.schedule import Schedule
from runstead.ports.store import RunKey, ScheduleQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"


def schedule(kind="task", **fields):
    given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "name": "nightly", "target_kind": kind}
    given |= {"target_id": "count", "schedule": "0 3 * * *", "created_at": 5, "updated_at": 5}
    return Schedule(**(given | fields))


async def kept(store, kind="task", **fields):
    made = schedule(kind, **fields)
    return await store.schedules.create(made.project_id, lambda _count, _now: made)


def start(store, mine, run_id="run-1", project_id=PROJECT, idempotency=None):
    firing = Firing(
        run_id=run_id,
        uid=str(uuid.uuid4()),
        message_id=str(uuid.uuid4()),
        conversation_id=str(uuid.uuid4()),
        trigger_kind="manual",
    )
    want = Want(schedule_id=mine.id)
    return store.runs.apply(
        RunKey(project_id, run_id), lambda loaded: fire(loaded, firing), want, idempotency
    )


async def now(store, mine):
    return await store.schedules.get(mine.project_id, mine.id)


async def page(store, project_id=PROJECT, limit=100, **filters):
    found = await store.schedules.page(ScheduleQuery(project_id, limit, **filters))
    return [one.id for one in found.rows]


async def test_a_schedule_is_read_as_it_was_written(store):
    values = {name: f"the {name}" for name in Schedule.__struct_fields__ if name not in {"project_id", "id"}}
    numbers = {
        "created_at",
        "updated_at",
        "timeout_seconds",
        "backoff_limit",
        "max_runs",
        "run_count",
        "version",
        "max_staleness_seconds",
        "skipped_count",
        "missed_count",
    }
    numbers |= {name for name in Schedule.__struct_fields__ if name.endswith("_at")}
    values |= {name: 100 + n for n, name in enumerate(sorted(numbers))}
    values |= {"config": b'{"a":1}', "integration_requirements": b"[2]", "flow": b'{"unique":{"key":"a"}}'}
    mine = await kept(store, **{name: value for name, value in values.items() if name != "target_kind"})
    assert await now(store, mine) == mine
    bare = await kept(store)
    assert await now(store, bare) == bare


async def test_one_that_is_not_there_or_elsewhere_is_none(store):
    mine = await kept(store)
    assert await store.schedules.get(PROJECT, "nothing") is None
    assert await store.schedules.get(ELSEWHERE, mine.id) is None


async def test_a_projects_schedules_are_listed_oldest_first(store):
    late, early = await kept(store, created_at=9), await kept(store, created_at=7)
    foreign = await kept(store, project_id=ELSEWHERE)
    assert await page(store) == [early.id, late.id]
    assert await page(store, limit=1) == [early.id]
    assert await page(store, ELSEWHERE) == [foreign.id]


async def test_a_list_is_filtered_by_status_and_source(store):
    await kept(store)
    paused = await kept(store, status="paused", source_trigger_id="a")
    both = await kept(store, definition_source="source", source_trigger_id="a", created_at=6)
    assert await page(store, status="paused") == [paused.id]
    assert await page(store, source_trigger_id="a") == [paused.id, both.id]
    assert await page(store, source_trigger_id="a", status="active") == [both.id]
    assert await page(store, source_trigger_id="b") == []


def marked_gone(schedule, now):
    return replace(schedule, next_fire_at=now, version=schedule.version + 1)


async def test_the_rule_of_a_creation_gets_the_count_of_schedules_and_the_time_and_may_refuse(
    store, clock, refusal
):
    seen = []
    await kept(store, project_id=ELSEWHERE)
    await kept(store, status="deleting")

    def noted(count, now):
        seen.append((count, now))
        return schedule()

    for _ in range(3):
        await store.schedules.create(PROJECT, noted)

    def full(_count, _now):
        raise Error("SCHEDULE_LIMIT_REACHED", "full")

    assert await refusal(store.schedules.create(PROJECT, full)) == "SCHEDULE_LIMIT_REACHED"
    assert seen == [(count, clock.now) for count in range(3)]
    await store.schedules.change(PROJECT, (await page(store, status="deleting"))[0], marked_gone)
    assert [one.fired.outcome for one in await store.runs.fire(9, fire_due)] == ["removed"]
    assert len(await page(store)) == 3


async def test_a_creation_under_a_key_happens_once(store, idempotent):
    mine = schedule()
    await store.schedules.create(PROJECT, lambda *_: mine, idempotent())
    with pytest.raises(ReplayedResponse):
        await store.schedules.create(PROJECT, lambda *_: schedule(), idempotent())
    assert await page(store) == [mine.id]


async def test_a_run_and_its_schedules_counters_are_one_write(store, clock):
    mine = await kept(store)
    clock.advance_ms(1_000)
    written = await start(store, mine)
    assert written.run == await store.runs.get(RunKey(PROJECT, "run-1"))
    assert (written.run.schedule_id, written.before) == (mine.id, None)
    assert await now(store, mine) == replace(mine, run_count=1, last_scheduled_at=clock.now, version=2)


async def test_a_repeat_finds_the_run_and_counts_nothing(store):
    mine = await kept(store)
    first, second = await start(store, mine), await start(store, mine)
    assert (second.run, second.transition.duplicate, second.before) == (first.run, True, second.run)
    assert (await now(store, mine)).run_count == 1


async def test_twenty_callers_at_once_start_one_run(store):
    mine = await kept(store, "agent", conversation_mode="create_new")
    found = await asyncio.gather(*(start(store, mine) for _ in range(20)))
    assert sum(not written.transition.duplicate for written in found) == 1
    assert len({written.run.uid for written in found}) == 1
    assert (await now(store, mine)).run_count == 1


async def test_twenty_keys_at_once_are_all_counted_up_to_the_last_one_allowed(store):
    mine = await kept(store, max_runs=15)
    found = await asyncio.gather(*(start(store, mine, f"run-{n}") for n in range(20)), return_exceptions=True)
    assert [one.code for one in found if isinstance(one, Error)] == ["SCHEDULE_COMPLETED"] * 5
    after = await now(store, mine)
    assert (after.run_count, after.completed_at) == (15, after.last_scheduled_at)


async def test_a_refused_start_leaves_nothing(store, refusal):
    gone = {"conversation_mode": "existing", "conversation_id": str(uuid.uuid4())}
    mine = await kept(store, "agent", **gone)
    assert await refusal(start(store, mine)) == "NOT_FOUND"
    assert await now(store, mine) == mine
    assert await store.runs.get(RunKey(PROJECT, "run-1")) is None


async def test_a_schedule_of_another_project_is_not_loaded(store, refusal):
    mine = await kept(store)
    assert await refusal(start(store, mine, project_id=ELSEWHERE)) == "NOT_FOUND"
    assert await now(store, mine) == mine


async def test_a_start_under_a_key_counts_once(store, idempotent):
    mine = await kept(store)
    await start(store, mine, idempotency=idempotent())
    with pytest.raises(ReplayedResponse):
        await start(store, mine, "run-2", idempotency=idempotent())
    assert (await now(store, mine)).run_count == 1


async def test_an_agents_conversation_comes_with_its_run(store):
    mine = await kept(store, "agent", conversation_mode="create_new")
    run = (await start(store, mine)).run
    made = await store.conversations.get(run.conversation_id)
    assert (made.type, made.title, made.project_id, made.message_count) == (
        "project_agent",
        "nightly",
        PROJECT,
        1,
    )
    again = (await start(store, mine, "run-2")).run
    assert again.conversation_id != run.conversation_id


async def test_an_existing_conversation_gets_the_message(store):
    first = (await start(store, await kept(store, "agent", conversation_mode="none"))).run
    place = {"conversation_mode": "existing", "conversation_id": first.conversation_id}
    await start(store, await kept(store, "agent", **place), "run-2")
    assert (await store.conversations.get(first.conversation_id)).message_count == 2


async def test_a_schedule_records_its_last_success_and_failure(store, driver, clock):
    mine = await kept(store)
    for number, status in enumerate(("completed", "failed"), 1):
        await start(store, mine, f"run-{number}")
        clock.advance_ms(10)
        await driver.complete(f"run-{number}", status, error_code="E", error_message="why")
    after = await now(store, mine)
    assert (after.last_successful_at, after.last_failure_at) == (clock.now - 10, clock.now)
    assert (after.last_failure_code, after.last_failure_message) == ("E", "why")
    assert (after.last_failure_run_id, after.health(clock.now)) == ("run-2", "failed")


async def test_a_repeated_completion_counts_once(store, driver, clock):
    mine = await kept(store)
    await start(store, mine)
    await driver.complete("run-1")
    before = await now(store, mine)
    clock.advance_ms(10)
    await driver.complete("run-1")
    await driver.complete("run-1", "failed")
    assert await now(store, mine) == before


async def test_a_cancelled_run_counts_as_neither(store, driver, clock):
    mine = await kept(store)
    await start(store, mine)
    await driver.cancel("run-1")
    assert (await now(store, mine)).health(clock.now) is None


async def test_a_run_that_a_deadline_ends_is_counted(store, driver, clock):
    mine = await kept(store, backoff_limit=0)
    await start(store, mine)
    await driver.claim(lease_ms=5_000)
    clock.advance_ms(5_001)
    await driver.enforce_deadlines()
    assert (await driver.row("run-1")).status is RunStatus.FAILED
    after = await now(store, mine)
    assert (after.last_failure_code, after.last_failure_run_id) == ("LEASE_EXPIRED", "run-1")


async def test_two_ends_in_one_write_are_both_counted(store, driver, clock):
    mine = await kept(store, backoff_limit=0)
    for name in ("run-1", "run-2"):
        await start(store, mine, name)
    await driver.claim(lease_ms=5_000, limit=2)
    clock.advance_ms(5_001)
    before = await now(store, mine)
    assert len(await driver.enforce_deadlines()) == 2
    assert (await now(store, mine)).version == before.version + 2


async def test_runs_without_a_schedule_change_no_schedule(store, driver):
    mine = await kept(store)
    await driver.create("run-1", schedule_id=str(uuid.uuid4()))
    await driver.create("run-2")
    await driver.complete("run-1")
    await driver.complete("run-2", "failed")
    assert await now(store, mine) == mine


async def test_a_schedule_that_is_wanted_and_missing_is_none(store, driver):
    await driver.create("run-1")
    seen = []

    def look(loaded):
        seen.append(loaded.schedule)
        return Transition(loaded.run)

    await driver.change("run-1", look, Want(schedule_id="nothing"))
    assert seen == [None]


async def test_a_written_run_has_its_state_before_the_write(driver, clock):
    run = await driver.create("run-1")
    assert (await driver.complete("run-1")).before == run
    again = await driver.complete("run-1")
    assert again.before is again.run
    await driver.create("run-2", timeout_seconds=1)
    (claimed,) = await driver.claim()
    clock.advance_ms(2_000)
    (written,) = await driver.enforce_deadlines()
    assert written.before == claimed


async def test_a_decision_that_refuses_after_all_leaves_the_schedule_alone(store, refusal):
    mine = await kept(store)

    def decide(loaded):
        transitions.fire(
            loaded,
            Firing(run_id="r", uid="u", message_id="m", conversation_id="c", trigger_kind="manual"),
        )
        raise not_found("Project")

    key = RunKey(PROJECT, "r")
    assert await refusal(store.runs.apply(key, decide, Want(schedule_id=mine.id))) == "NOT_FOUND"
    assert await now(store, mine) == mine
