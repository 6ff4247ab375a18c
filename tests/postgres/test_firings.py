"""Schedules over one database: every replica checks concurrently, and each firing has one run."""

import asyncio
import uuid
from collections import Counter

import asyncpg
import pytest
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Want
from runstead.core.runs.transitions import Firing, fire, fire_due
from runstead.core.schedules.schedule import Schedule

PROJECT = "11111111-1111-4111-8111-111111111111"


def schedule(**fields):
    given = {
        "id": str(uuid.uuid4()),
        "project_id": PROJECT,
        "name": "n",
        "target_kind": "task",
        "target_id": "t",
    }
    return Schedule(**(given | {"schedule": "0 0 1 1 *", "created_at": 1, "updated_at": 1} | fields))


@pytest.fixture
def due(sql):
    """due(): make every schedule due again by the database's clock."""
    return lambda: sql(
        "UPDATE schedules SET next_fire_at = (extract(epoch FROM now()) * 1000)::bigint - 1,"
        " version = version + 1 WHERE status = 'active'"
    )


async def some(driver, count, **fields):
    made = [schedule(**fields) for _ in range(count)]
    for one in made:
        await driver.store.schedules.create(PROJECT, lambda *_, one=one: one)
    return made


async def by_hand(driver, mine, run_id):
    ids = {"uid": str(uuid.uuid4()), "message_id": run_id, "conversation_id": run_id}
    firing = Firing(run_id=run_id, trigger_kind="manual", **ids)
    return await driver.runs.apply(driver.key(run_id), lambda to: fire(to, firing), Want(schedule_id=mine.id))


async def test_four_replicas_fire_each_time_once(replicas, due):
    drivers = await replicas(4)
    mine = await some(drivers[0], 60, concurrency_policy="Allow")
    for _ in range(3):
        due()
        await asyncio.gather(*(driver.runs.fire(25, fire_due) for driver in drivers for _ in range(3)))
        while await drivers[0].runs.fire(25, fire_due):
            pass
    runs = await drivers[1].rows()
    assert Counter(run.schedule_id for run in runs) == dict.fromkeys((one.id for one in mine), 3)
    assert len({run.run_id for run in runs}) == len(runs) == 180


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
async def test_two_are_never_alive_while_runs_start_and_end_everywhere(replicas, due, policy):
    drivers = await replicas(3)
    mine = await some(drivers[0], 8, concurrency_policy=policy)
    for turn in range(4):
        due()
        alive = [run for run in await drivers[0].rows() if not run.terminal]
        work = [driver.runs.fire(20, fire_due) for driver in drivers for _ in range(2)]
        work += [drivers[n % 3].complete(run.run_id) for n, run in enumerate(alive) if n % 2]
        work += [drivers[n % 3].create(f"child-{turn}-{n}", parent=run.run_id) for n, run in enumerate(alive)]
        outcome = await asyncio.gather(*work, return_exceptions=True)
        assert {each.code for each in outcome if isinstance(each, Exception)} <= {"PARENT_CANCELLED"}
        for _ in range(3):  # schedules that another replica held
            await drivers[0].runs.fire(20, fire_due)
        runs = [run for run in await drivers[0].rows() if run.schedule_id is not None]
        living = Counter(run.schedule_id for run in runs if not run.terminal)
        assert living.keys() <= {one.id for one in mine}
        assert max(living.values()) == 1
        # A replaced run has no active descendants.
        rows = {run.seq: run for run in await drivers[0].rows()}
        for run in rows.values():
            if run.parent_seq is not None and rows[run.parent_seq].status is RunStatus.CANCELLED:
                assert run.terminal


async def test_a_run_by_hand_and_a_firing_at_once_are_decided_one_after_the_other(replicas, due):
    drivers = await replicas(2)
    mine = await some(drivers[0], 12, concurrency_policy="Forbid")
    due()
    await asyncio.gather(
        *(by_hand(drivers[n % 2], one, f"hand-{n}") for n, one in enumerate(mine)),
        *(driver.runs.fire(12, fire_due) for driver in drivers),
    )
    await drivers[0].runs.fire(12, fire_due)
    for one in mine:
        after = await drivers[0].store.schedules.get(PROJECT, one.id)
        # Either it came first, and the firing was skipped; or the firing did, and nothing holds back a run by hand.
        assert (after.run_count, after.skipped_count) in {(1, 1), (2, 0)}


async def test_a_locked_schedule_is_fired_by_a_later_tick(replicas, due, databases, database):
    [driver] = await replicas(1)
    held, free = await some(driver, 2, concurrency_policy="Replace")
    due()
    await driver.runs.fire(10, fire_due)
    [child] = [run for run in await driver.rows() if run.schedule_id == held.id]
    await driver.create("child", parent=child.run_id)
    due()
    other = await asyncpg.connect(databases.server.url(database))
    async with other.transaction():
        await other.execute("SELECT 1 FROM runs WHERE run_id = 'child' FOR UPDATE")
        assert [one.schedule.id for one in await driver.runs.fire(10, fire_due)] == [free.id]
        assert await driver.runs.fire(10, fire_due) == []
    async with other.transaction():
        await other.execute("SELECT 1 FROM schedules FOR UPDATE")
        assert await driver.runs.fire(10, fire_due) == []
    await other.close()
    [firing] = await driver.runs.fire(10, fire_due)
    assert [run.run_id for run in firing.written[1].cancelled] == ["child"]


async def test_edits_beside_firings_lose_nothing(replicas, due):
    drivers = await replicas(3)
    [mine] = await some(drivers[0], 1, concurrency_policy="Allow")

    def renamed(old, _):
        return replace(old, name=old.name + "!", version=old.version + 1)

    for _ in range(5):
        due()
        work = [driver.runs.fire(5, fire_due) for driver in drivers]
        work += [driver.store.schedules.change(PROJECT, mine.id, renamed) for driver in drivers]
        outcome = await asyncio.gather(*work, return_exceptions=True)
        assert [each for each in outcome if isinstance(each, Error)] == []
        await drivers[0].runs.fire(5, fire_due)
    after = await drivers[0].store.schedules.get(PROJECT, mine.id)
    assert (after.name, after.run_count) == ("n" + "!" * 15, 5)
