"""Due schedules in every store: one run per firing, and one write per firing."""

import asyncio
import uuid

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation, delete as delete_conversation
from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.runs.flow import Debounce, Flow, Unique
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Want
from runstead.core.runs.transitions import Firing, fire, fire_due
from runstead.core.schedules.edits import Sync, delete
from runstead.core.schedules.schedule import Schedule, begun, firing_id, stored_flow
from runstead.ports.store import RunKey, ScheduleQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
MINUTE = 60_000


def schedule(kind="task", **fields):
    given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "name": "minutely", "target_kind": kind}
    given |= {"target_id": "count", "schedule": "* * * * *", "created_at": 0, "updated_at": 0}
    return Schedule(**(given | fields))


async def kept(store, kind="task", **fields):
    made = schedule(kind, **fields)
    return await store.schedules.create(made.project_id, lambda _, now: begun(made, now))


async def look(store, limit=100):
    return await store.runs.fire(limit, fire_due)


async def outcomes(store):
    return [firing.fired.outcome for firing in await look(store)]


async def now(store, mine):
    return await store.schedules.get(mine.project_id, mine.id)


async def runs_of(driver, mine):
    return [run for run in await driver.rows() if run.schedule_id == mine.id]


def by_hand(store, mine, run_id="by-hand"):
    ids = {"uid": str(uuid.uuid4()), "message_id": str(uuid.uuid4()), "conversation_id": str(uuid.uuid4())}
    firing = Firing(run_id=run_id, trigger_kind="manual", **ids)
    return store.runs.apply(RunKey(PROJECT, run_id), lambda to: fire(to, firing), Want(schedule_id=mine.id))


async def test_nothing_is_due_before_its_time_and_one_run_comes_of_it(store, driver, clock):
    mine = await kept(store)
    assert await look(store) == []
    clock.advance_ms(MINUTE + 300)
    [firing] = await look(store)
    [written] = firing.written
    [run] = await runs_of(driver, mine)
    assert written.run == run
    assert (run.run_id, run.scheduled_at) == (firing_id(mine, mine.next_fire_at), mine.next_fire_at)
    after = await now(store, mine)
    assert after == firing.fired.schedule
    assert (after.run_count, after.next_fire_at) == (1, mine.next_fire_at + MINUTE)
    assert await look(store) == []


async def test_loops_that_race_make_one_run_for_each_time(store, driver, clock):
    mine = [await kept(store, concurrency_policy="Allow") for _ in range(5)]
    for _ in range(3):
        clock.advance_ms(MINUTE)
        found = await asyncio.gather(*(look(store) for _ in range(8)))
        assert sum(len(each) for each in found) == 5
    for one in mine:
        times = [run.scheduled_at for run in await runs_of(driver, one)]
        assert times == [one.next_fire_at + n * MINUTE for n in range(3)]


async def test_the_soonest_come_first_and_no_more_than_are_asked_for(store, clock):
    later, sooner = await kept(store, schedule="*/5 * * * *"), await kept(store)
    clock.advance_ms(6 * MINUTE)
    assert [[one.schedule.id for one in await look(store, 1)] for _ in range(3)] == [
        [sooner.id],
        [later.id],
        [],
    ]


async def test_an_outage_is_made_up_for_by_one_run(store, driver, clock):
    mine = await kept(store)
    clock.advance_ms(90 * MINUTE)
    assert await outcomes(store) == ["fired"]
    assert await look(store) == []
    [run] = await runs_of(driver, mine)
    assert (run.scheduled_at, run.missed_since) == (mine.next_fire_at + 89 * MINUTE, mine.next_fire_at)
    assert (await now(store, mine)).missed_count == 1


async def test_forbid_waits_for_runs_by_hand_too(store, driver, clock):
    mine = await kept(store, concurrency_policy="Forbid")
    await by_hand(store, mine)
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["skipped"]
    after = await now(store, mine)
    assert (after.skipped_count, after.last_skipped_at, after.run_count) == (1, mine.next_fire_at, 1)
    assert "by-hand" in after.last_skipped_reason
    await driver.complete("by-hand")
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired"]
    assert len(await runs_of(driver, mine)) == 2


async def test_allow_lets_runs_be_beside_each_other(store, driver, clock):
    mine = await kept(store, concurrency_policy="Allow")
    for _ in range(3):
        clock.advance_ms(MINUTE)
        assert await outcomes(store) == ["fired"]
    assert [run.status for run in await runs_of(driver, mine)] == [RunStatus.PENDING] * 3


async def test_replace_takes_the_running_one_and_its_family_along_in_the_same_write(store, driver, clock):
    mine = await kept(store, concurrency_policy="Replace")
    other = await kept(store, concurrency_policy="Allow")
    clock.advance_ms(MINUTE)
    await look(store)
    [old] = await runs_of(driver, mine)
    await driver.create("child", parent=old.run_id)
    await driver.create("grandchild", parent="child")
    await driver.create("done", parent="child")
    await driver.complete("done")
    clock.advance_ms(MINUTE)
    firing = next(one for one in await look(store) if one.schedule.id == mine.id)
    born, replaced = firing.written
    assert [run.run_id for run in replaced.cancelled] == ["child", "grandchild"]
    was, new = await runs_of(driver, mine)
    assert (was, new) == (replaced.run, born.run)
    assert (was.status, new.status, was.descendants_active) == (RunStatus.CANCELLED, RunStatus.PENDING, 0)
    assert b'"REPLACED"' in was.error
    for name in ("child", "grandchild"):
        below = await driver.row(name)
        assert (below.status, below.cancel_reason) == (RunStatus.CANCELLED, was.cancel_reason)
    assert (await driver.row("done")).status is RunStatus.COMPLETED
    assert [event.type for event in await driver.log(was.run_id)] == ["RUN_ERROR"]
    assert [run.status for run in await runs_of(driver, other)] == [RunStatus.PENDING] * 2


async def test_replace_works_many_off_before_the_new_one_comes(store, driver, clock, monkeypatch):
    monkeypatch.setattr(limits, "schedule_replaced_runs_max", 2)
    mine = await kept(store, concurrency_policy="Replace")
    for n in range(3):
        await by_hand(store, mine, f"hand-{n}")
    clock.advance_ms(MINUTE)
    assert [await outcomes(store) for _ in range(3)] == [["replacing"], ["fired"], []]
    alive = [run for run in await runs_of(driver, mine) if not run.terminal]
    assert [run.scheduled_at for run in alive] == [mine.next_fire_at]


async def test_a_deleted_conversation_fails_only_its_own_firing(store, driver, clock):
    place = Conversation(str(uuid.uuid4()), PROJECT, "chat", 1, 1)
    await store.conversations.create(place)
    given = {"conversation_mode": "existing", "conversation_id": place.id}
    mine, other = await kept(store, "agent", **given), await kept(store)
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired", "fired"]
    assert (await store.conversations.get(place.id)).message_count == 1
    for run in await driver.rows():
        await driver.complete(run.run_id)
    await store.conversations.change(place.id, lambda old, now: delete_conversation(old, now=now))
    clock.advance_ms(MINUTE)
    assert sorted(await outcomes(store)) == ["failed", "fired"]
    assert await look(store) == []
    after = await now(store, mine)
    assert (after.last_failure_code, after.run_count, after.health(clock.now)) == ("NOT_FOUND", 1, "failed")
    assert after.next_fire_at == mine.next_fire_at + 2 * MINUTE
    assert (await now(store, other)).run_count == 2


async def test_an_agent_gets_a_conversation_and_its_service(store, driver, clock, push_service):
    mine = await kept(store, "agent", target_id="scribe", conversation_mode="create_new")
    clock.advance_ms(MINUTE)
    await store.push_services.register(push_service(agent_id="scribe"))
    assert await outcomes(store) == ["fired"]
    [run] = await runs_of(driver, mine)
    assert run.push_service_id == "service-1"
    made = await store.conversations.get(run.conversation_id)
    assert (made.type, made.message_count, made.agent_id) == ("project_agent", 1, "scribe")


async def test_a_run_with_the_id_of_a_firing_does_not_block_other_schedules(store, driver, clock):
    mine, other = await kept(store), await kept(store)
    await driver.create(firing_id(mine, mine.next_fire_at))
    await driver.create(firing_id(other, other.next_fire_at), project_id=ELSEWHERE)
    clock.advance_ms(MINUTE)
    assert sorted(await outcomes(store)) == ["failed", "fired"]
    assert (await now(store, mine)).last_failure_code == "RUN_ID_CONFLICT"
    assert (await now(store, other)).run_count == 1


async def test_a_time_that_was_fired_already_makes_no_second_run(store, driver, clock):
    mine = await kept(store)
    clock.advance_ms(MINUTE)
    await look(store)

    def back(old, _):
        return replace(old, next_fire_at=mine.next_fire_at, version=old.version + 1)

    await store.schedules.change(PROJECT, mine.id, back)
    assert await outcomes(store) == ["repeated"]
    assert len(await runs_of(driver, mine)) == 1


async def test_one_that_is_deleted_goes_once_its_runs_have_ended_and_they_stay(store, driver, clock):
    mine = await kept(store)
    clock.advance_ms(MINUTE)
    await look(store)
    await store.schedules.change(PROJECT, mine.id, delete)
    assert await outcomes(store) == ["deleting"]
    assert await look(store) == []
    [run] = await runs_of(driver, mine)
    await driver.complete(run.run_id)
    clock.advance_ms(limits.schedule_deleting_ms)
    assert await outcomes(store) == ["removed"]
    assert await now(store, mine) is None
    [left] = await runs_of(driver, mine)
    assert left.schedule_id == mine.id


async def test_a_decision_that_breaks_leaves_nothing_behind(store, driver, clock):
    mine = await kept(store)
    clock.advance_ms(MINUTE)

    def broken(due):
        fire_due(due)
        raise Error("INTERNAL", "no")

    with pytest.raises(Error):
        await store.runs.fire(10, broken)
    assert (await driver.rows(), await now(store, mine)) == ([], mine)


# Keys

UNIQUE = Unique("u")
DEBOUNCE = Debounce("d", 30, 100)


async def created(driver, run_id, flow, **fields):
    return await driver.created(run_id, project_id=PROJECT, target="task:count", flow=flow, **fields)


@pytest.mark.parametrize("times", [{}, {"schedule": "", "run_at": 1_800_000_000_000}])
async def test_a_firing_whose_unique_key_another_run_holds_is_skipped_and_counted(
    store, driver, clock, times
):
    mine = await kept(store, flow=stored_flow(UNIQUE, None), **times)
    await created(driver, "holder", Flow(unique=UNIQUE))
    clock.advance_ms(mine.next_fire_at - clock.now)
    assert await outcomes(store) == ["skipped"]
    after = await now(store, mine)
    assert (after.skipped_count, after.last_skipped_at, after.run_count) == (1, mine.next_fire_at, 0)
    assert after.last_skipped_reason == "The run holder holds the unique key"
    assert (after.completed_at is not None) == bool(times)
    assert await runs_of(driver, mine) == []


async def test_a_run_of_a_firing_holds_the_unique_key_until_it_has_ended(store, driver, clock):
    mine = await kept(store, flow=stored_flow(UNIQUE, None), concurrency_policy="Allow")
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired"]
    [run] = await runs_of(driver, mine)
    assert run.unique_key == "u"
    assert (await created(driver, "other", Flow(unique=UNIQUE))).run.run_id == run.run_id
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["skipped"]
    await driver.complete(run.run_id)
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired"]


async def test_of_two_schedules_that_are_due_with_one_key_one_fires(store, driver, clock):
    for _ in range(2):
        await kept(store, flow=stored_flow(UNIQUE, None))
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired", "skipped"]
    assert len(await driver.rows()) == 1


async def test_a_firing_and_creates_of_its_key_at_the_same_time_make_one_run(store, driver, clock):
    mine = await kept(store, flow=stored_flow(UNIQUE, None))
    for turn in range(5):
        clock.advance_ms(MINUTE)
        await asyncio.gather(
            *(created(driver, f"run-{turn}-{n}", Flow(unique=UNIQUE)) for n in range(4)),
            *(look(store) for _ in range(4)),
        )
        while (await now(store, mine)).next_fire_at <= clock.now:  # a lock had left it for the next call
            await look(store)
        [run] = [run for run in await driver.rows() if not run.terminal]
        await driver.complete(run.run_id)
    after = await now(store, mine)
    assert after.run_count + after.skipped_count == 5


async def test_a_firing_gives_its_config_to_the_pending_run_of_its_debounce(store, driver, clock):
    mine = await kept(store, flow=stored_flow(None, DEBOUNCE), config=b'{"n":7}')
    await created(driver, "pending", Flow(debounce=DEBOUNCE), config=b'{"n":1}')
    clock.advance_ms(MINUTE)
    [firing] = await look(store)
    [written] = firing.written
    run = await driver.row("pending")
    assert (firing.fired.outcome, written.run) == ("debounced", run)
    assert (run.config, run.debounced, run.available_at) == (b'{"n":7}', 1, clock.now + 30_000)
    after = await now(store, mine)
    assert (after.run_count, after.skipped_count) == (0, 0)
    assert after.next_fire_at == mine.next_fire_at + MINUTE
    assert len(await driver.rows()) == 1


async def test_a_firing_without_a_pending_run_of_its_debounce_is_delayed(store, driver, clock):
    for _ in range(2):
        await kept(store, flow=stored_flow(None, DEBOUNCE))
    clock.advance_ms(MINUTE)
    assert await outcomes(store) == ["fired", "debounced"]
    [run] = await driver.rows()
    assert (run.available_at, run.debounce_until) == (clock.now + 30_000, clock.now + 100_000)
    assert (run.debounce_key, run.debounced) == ("d", 1)
    assert await driver.claim() == []
    clock.advance_ms(30_000)
    assert await driver.claim_ids() == [run.run_id]


# Changing


async def test_a_change_is_decided_on_the_row_as_it_is(store, clock, refusal, idempotent):
    mine = await kept(store)

    def renamed(old, at):
        assert (old, at) == (mine, clock.now)
        return replace(old, name="other", version=old.version + 1)

    changed = await store.schedules.change(PROJECT, mine.id, renamed, idempotent())
    assert changed == await now(store, mine) == replace(mine, name="other", version=mine.version + 1)
    with pytest.raises(ReplayedResponse):
        await store.schedules.change(PROJECT, mine.id, renamed, idempotent())
    assert await store.schedules.change(PROJECT, mine.id, lambda old, _: old) == changed
    for project_id, name in ((ELSEWHERE, mine.id), (PROJECT, "nothing")):
        refused = store.schedules.change(project_id, name, lambda old, _: old)
        assert await refusal(refused) == "NOT_FOUND"
    assert await store.schedules.now() == clock.now


async def test_a_sync_is_one_write(store, clock, refusal):
    kept_one, going, foreign = await kept(store), await kept(store), await kept(store, project_id=ELSEWHERE)
    gone = await kept(store, status="deleting")
    new = schedule(definition_source="source")

    def decide(known, at):
        assert {one.id for one in known} == {kept_one.id, going.id}
        changed = replace(kept_one, name="other", version=kept_one.version + 1)
        return Sync((begun(new, at),), (changed,), (delete(going, at),))

    def refuse(known, at):
        decide(known, at)
        raise Error("SCHEDULE_LIMIT_REACHED", "full")

    query = ScheduleQuery(PROJECT, 10)
    before = (await store.schedules.page(query)).rows
    assert await refusal(store.schedules.sync(PROJECT, refuse)) == "SCHEDULE_LIMIT_REACHED"
    assert (await store.schedules.page(query)).rows == before
    synced = await store.schedules.sync(PROJECT, decide)
    after = {one.id: one for one in (await store.schedules.page(query)).rows}
    for one in (*synced.created, *synced.updated, *synced.removed):
        assert after.pop(one.id) == one
    assert after == {gone.id: gone}
    assert await now(store, foreign) == foreign


async def test_syncs_that_race_make_each_schedule_once(store):
    from runstead.core.schedules.edits import sync

    def wanted(n):
        return [
            schedule(definition_source="source", source_trigger_id=f"t-{n}", source_hash="h")
            for n in range(n)
        ]

    await asyncio.gather(
        *(store.schedules.sync(PROJECT, lambda known, at: sync(known, wanted(4), at)) for _ in range(6))
    )
    found = (await store.schedules.page(ScheduleQuery(PROJECT, 100))).rows
    assert sorted(one.source_trigger_id for one in found) == ["t-0", "t-1", "t-2", "t-3"]
