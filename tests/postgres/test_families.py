"""Many replicas write to one family: its events get one order without gaps, also if a run is deleted."""

import asyncio
import random
import re
import time

import asyncpg
import pytest

from runstead.core.errors import Error
from runstead.core.schedules.schedule import Schedule
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.sql import Q


async def whole(driver, run_id):
    found, reached = await driver.family(run_id)
    assert [position for _, _, position in found] == list(range(1, reached + 1))
    return found


async def blocked(sql):
    """Wait until a session of the store waits for a lock."""
    async with asyncio.timeout(30):
        while not sql(  # noqa: ASYNC110 - there is no event to wait for
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'runstead'"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.005)


@pytest.fixture
async def held(databases, database):
    """held(run_id): lock the row in another session, until the returned transaction is committed."""
    session = await asyncpg.connect(databases.server.url(database))

    async def hold(run_id):
        transaction = session.transaction()
        await transaction.start()
        await session.execute("SELECT 1 FROM runs WHERE run_id = $1 FOR UPDATE", run_id)
        return transaction

    yield hold
    await session.close()


async def test_appends_of_three_replicas_get_one_order_without_gaps(replicas, event):
    drivers = await replicas(3)
    names = ["root", *(f"c-{n}" for n in range(6))]
    await drivers[0].create("root")
    for name in names[1:]:
        await drivers[0].create(name, parent="root")
    dice = random.Random(7)
    await asyncio.gather(
        *(
            dice.choice(drivers).append(dice.choice(names), *[event()] * dice.randint(1, 3))
            for _ in range(300)
        )
    )
    found = await whole(drivers[1], "root")
    for name in names:
        mine = [event_id for run_id, event_id, _ in found if run_id == name]
        assert mine == list(range(1, (await drivers[2].row(name)).latest_event_id + 1))
    assert len(found) >= 300


async def test_a_follower_sees_no_place_before_those_below_it(replicas, event):
    here, there, reader = await replicas(3)
    await here.create("root")
    for n in range(4):
        await here.create(f"c-{n}", parent="root")
    root = await reader.row("root")
    done = asyncio.Event()

    async def write(driver, seed):
        dice = random.Random(seed)
        for _ in range(60):
            await driver.append(f"c-{dice.randrange(4)}", event(), event())

    async def follow():
        after, seen = 0, []
        while True:
            over = done.is_set()
            page = await reader.runs.family_events(root, after, 1_000)
            seen += [one.position for one in page.events]
            after = page.reached
            if over and not page.events:
                return seen

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(write(driver, seed) for seed, driver in enumerate([here, there] * 2)))
    done.set()
    assert await asyncio.wait_for(following, 30) == list(range(1, 481))


@pytest.mark.parametrize("seed", range(4))
async def test_a_first_child_and_an_append_to_its_root_at_once(replicas, event, seed):
    drivers = await replicas(3)
    await drivers[0].create("root")
    await drivers[0].append("root", event())
    dice = random.Random(seed)
    work = [dice.choice(drivers).append("root", event()) for _ in range(20)]
    work += [dice.choice(drivers).create(f"c-{n}", parent="root") for n in range(3)]
    dice.shuffle(work)
    await asyncio.gather(*work)
    await drivers[0].append("c-0", event())
    found = await whole(drivers[1], "root")
    assert [run_id for run_id, _, _ in found].count("root") == 21
    assert [event_id for run_id, event_id, _ in found if run_id == "root"] == list(range(1, 22))


async def test_an_append_that_waits_for_the_first_child_finds_the_family(replicas, event, held, sql):
    here, there = await replicas(2)
    await here.create("root")
    transaction = await held("root")
    creating = asyncio.ensure_future(here.create("child", parent="root"))
    await blocked(sql)
    appending = asyncio.ensure_future(there.append("root", event()))
    await asyncio.sleep(0.05)
    await transaction.commit()
    await asyncio.gather(creating, appending)
    await here.append("child", event())
    assert {(run_id, event_id) for run_id, event_id, _ in await whole(here, "root")} == {
        ("root", 1),
        ("child", 1),
    }


async def test_a_run_that_gets_a_child_while_it_is_deleted_stays(replicas, held, sql):
    here, there = await replicas(2)
    await here.create("root")
    await here.complete("root")
    transaction = await held("root")
    creating = asyncio.ensure_future(here.create("child", parent="root"))
    await blocked(sql)
    deleting = asyncio.ensure_future(there.delete("root"))
    await asyncio.sleep(0.05)
    await transaction.commit()
    made, gone = await asyncio.gather(creating, deleting, return_exceptions=True)
    rows = {run.run_id for run in await here.rows()}
    if isinstance(gone, Error):
        assert (gone.code, rows) == ("RUN_HAS_CHILDREN", {"root", "child"})
    else:
        assert isinstance(made, Error)
        assert (made.code, rows) == ("NOT_FOUND", set())


async def test_a_run_is_created_anew_while_the_one_of_its_name_is_deleted(replicas, held, sql):
    here, there = await replicas(2)
    old = await here.create("a")
    await here.complete("a")
    transaction = await held("a")
    deleting = asyncio.ensure_future(here.delete("a"))
    await blocked(sql)
    creating = asyncio.ensure_future(there.create("a"))
    await asyncio.sleep(0.05)
    await transaction.commit()
    _, made = await asyncio.gather(deleting, creating)
    left = await here.row("a")
    if made.seq == old.seq:  # found just before it went
        assert left is None
    else:
        assert left == made


async def test_ends_of_a_schedules_runs_at_many_replicas_are_all_counted(replicas):
    drivers = await replicas(3)
    schedule = Schedule("s-1", drivers[0].new_run("x").project_id, "n", "task", "t", "0 8 * * *", 1, 1)
    await drivers[0].store.schedules.create(schedule.project_id, lambda *_: schedule)
    for n in range(30):
        await drivers[0].create(f"run-{n}", schedule_id="s-1")
    await asyncio.gather(
        *(drivers[n % 3].complete(f"run-{n}", "failed" if n % 2 else "completed") for n in range(30))
    )
    schedule_now = await drivers[1].store.schedules.get(schedule.project_id, "s-1")
    assert schedule_now.version == 31
    assert schedule_now.last_failure_run_id is not None
    assert schedule_now.last_successful_at is not None


async def test_three_replicas_push_each_run_once(replicas):
    drivers = await replicas(3)
    for n in range(30):
        await drivers[0].create(f"run-{n:02}", kind="agent", push_service_id="service-1")
        await drivers[0].start(f"run-{n:02}")
    taken = await asyncio.gather(*(drivers[n % 3].dispatch(7) for n in range(9)))
    names = sorted(run.run_id for runs in taken for run in runs)
    assert names == sorted(set(names))
    rest = [run.run_id for run in await drivers[0].dispatch(30)]
    assert sorted(names + rest) == [f"run-{n:02}" for n in range(30)]


async def test_nothing_is_left_of_a_deleted_family(driver, event, sql):
    await driver.create("root")
    run = await driver.create("a", parent="root")
    await driver.append("a", event(key="k"))
    await driver.wait("a", call="call-1")
    await driver.resume("a", call="call-1")
    await driver.complete("a")
    await driver.complete("root")
    await driver.delete("a")
    assert [row[0] for row in sql("SELECT run_seq FROM family_log")].count(run.seq) > 0
    await driver.delete("root")
    tables = sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND (column_name = 'run_seq' OR (table_name = 'runs' AND column_name = 'seq'))"
    )
    assert len(tables) >= 8
    for table, column in tables:
        if table != "rollup_entries":  # usage outlives its run
            assert sql(f"SELECT {column} FROM {table}") == [], table


CHILDREN = """
WITH made AS (
  INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at, updated_at, seq,
    parent_seq, parent_run_id, root_seq, path, push_failures, attempt, attempts_lost, latest_event_id,
    latest_external_event_sequence, version, available_at)
  SELECT 'u' || n, project_id, 'c' || n, kind, 'pending', owner_kind, owner_id, run_id, created_at, created_at,
    nextval('run_seq'), seq, run_id, seq, '/' || seq || '/', 0, 0, 0, 0, 0, 1, created_at
  FROM runs CROSS JOIN generate_series(1, {n}) AS n WHERE run_id = 'root'
)
UPDATE run_families SET descendants_total = {n}, descendants_active = {n}
"""


async def test_a_family_of_forty_thousand_is_cancelled_at_once(driver, sql):
    await driver.create("root")
    await driver.complete((await driver.create("first", parent="root")).run_id)
    sql(CHILDREN.format(n=40_000))
    await driver.cancel("root")
    assert sql("SELECT count(*) FROM runs WHERE status = 'cancelled'") == [(40_001,)]
    logged = "SELECT sum(last - first + 1) FROM family_log"
    assert (
        sql(logged) == sql("SELECT sum(latest_event_id) FROM runs") == sql("SELECT logged FROM run_families")
    )


async def test_the_places_of_a_family_cost_the_same_however_many_are_given_at_once(databases, database):
    """Each look-up of the log's end used to step over all rows that the statement had already added."""
    session = await connect(databases.server.url(database))
    try:
        await session.execute(f"PREPARE log AS {Q['log_families']}")
        pages = {}
        for many in (1_000, 8_000):
            given = (
                f"SELECT array_agg({many}::bigint), array_agg(n), array_agg(n), array_agg(1), array_agg(1)"
            )
            [arrays] = await session.fetch(f"{given} FROM generate_series(1, {many}) AS n")
            arguments = ", ".join(f"'{{{','.join(map(str, array))}}}'" for array in arrays)
            rows = await session.fetch(
                f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE log ({arguments})"
            )
            pages[many] = int(re.search(r"Buffers: shared hit=(\d+)", "\n".join(row[0] for row in rows))[1])
    finally:
        await session.close()
    assert pages[8_000] / 8_000 < 2 * pages[1_000] / 1_000, pages


async def test_a_cancel_of_a_large_family_does_not_hold_the_event_loop(driver, sql):
    await driver.create("root")
    await driver.complete((await driver.create("first", parent="root")).run_id)
    sql(CHILDREN.format(n=20_000))
    cancel = asyncio.ensure_future(driver.cancel("root"))
    # By this thread's processor time, which is independent of how busy the machine is.
    held, last, began = 0.0, time.thread_time(), time.thread_time()
    while not cancel.done():
        await asyncio.sleep(0.002)
        held, last = max(held, time.thread_time() - last), time.thread_time()
    written = await cancel
    assert (len(written.cancelled), written.run.descendants_active) == (20_000, 0)
    assert held < (last - began) / 4, (held, last - began)
