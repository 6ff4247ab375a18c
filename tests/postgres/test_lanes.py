"""Commands that wait for a lock, or that PostgreSQL refuses, delay no command of another tenant."""

import asyncio

import asyncpg
import pytest

from runstead.core.errors import Error
from runstead.core.identity.tenant import tenant
from runstead.engines.postgres import session_limits
from tests.support.until import eventually

OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
async def holding(databases, database):
    """holding(statement): another session executes it in a transaction that stays open until the test ends."""
    sessions = []

    async def hold(statement):
        sessions.append(await asyncpg.connect(databases.server.url(database)))
        await sessions[-1].execute("BEGIN")
        await sessions[-1].execute(statement)
        return sessions[-1]

    yield hold
    for session in sessions:
        await session.close()


async def create(driver, count):
    """Create runs of another tenant, one after the other: much sooner than a lock is given up."""
    async with asyncio.timeout(60):
        for _ in range(count):
            await driver.create(project_id=OTHER)


async def test_locked_runs_delay_no_other_tenant(patient, driver, holding):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(8)))
    await create(driver, 5)
    await holding("SELECT 1 FROM runs FOR UPDATE")
    attack = asyncio.gather(*(driver.touch(f"run-{n % 8}") for n in range(200)), return_exceptions=True)
    await asyncio.sleep(0)
    await create(driver, 50)
    assert not attack.done()
    attack.cancel()


async def test_commands_for_a_locked_run_are_committed_together_once_it_is_free(driver, holding):
    await driver.create("run-1")
    session = await holding("SELECT 1 FROM runs FOR UPDATE")
    waiting = [asyncio.ensure_future(driver.touch("run-1")) for _ in range(40)]
    await eventually(lambda: driver.store.facts()["blocked_writes"] == 40)
    before = driver.store.facts()["commits"]
    await session.execute("ROLLBACK")
    assert [written.run.version for written in await asyncio.gather(*waiting)] == list(range(2, 42))
    assert driver.store.facts()["commits"] - before <= 3
    assert (driver.store.facts()["blocked_writes"], driver.store.facts()["queue_depth"]) == (0, 0)


async def test_children_of_a_locked_parent_wait_in_one_lane(driver, holding):
    await driver.create("run-1")
    session = await holding("SELECT 1 FROM runs FOR UPDATE")
    children = [asyncio.ensure_future(driver.create(f"child-{n}", parent="run-1")) for n in range(40)]
    await eventually(lambda: driver.store.facts()["blocked_writes"] == 40)
    before = driver.store.facts()["commits"]
    await session.execute("ROLLBACK")
    await asyncio.gather(*children)
    assert (await driver.row("run-1")).descendants_total == 40
    assert driver.store.facts()["commits"] - before <= 3


async def test_a_project_has_few_lanes_at_a_time_and_others_get_theirs(patient, driver, holding, sql):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(8)))
    await driver.create("mine", project_id=OTHER)
    await driver.create("its-child", project_id=OTHER, parent="mine")
    await holding("SELECT 1 FROM runs WHERE project_id <> '" + OTHER + "' FOR UPDATE")
    attack = asyncio.gather(*(driver.touch(f"run-{n}") for n in range(8)), return_exceptions=True)
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await eventually(lambda: sql(blocked)[0][0] == session_limits.lanes_per_project_max)
    async with asyncio.timeout(60):
        # A cancel of a family needs a transaction of its own.
        await driver.runs.apply(driver.key("mine", OTHER), _cancel)
    assert not attack.done()
    attack.cancel()


def _cancel(loaded):
    from runstead.core.runs import transitions

    return transitions.cancel(loaded.run, now=loaded.now, reason=None)


async def test_a_lock_beside_runs_delays_another_tenant_only_once(patient, driver, holding, sql):
    """Conversations, counters and concurrency slots are locked too. A group waits for them for a short time."""
    await asyncio.gather(*(driver.create(f"run-{n}", parent=None) for n in range(4)))
    await asyncio.gather(*(driver.create(parent=f"run-{n}") for n in range(4)))
    await create(driver, 5)
    await holding("SELECT 1 FROM run_families FOR UPDATE")
    attack = asyncio.gather(
        *(driver.create(parent=f"run-{n % 4}") for n in range(100)), return_exceptions=True
    )
    await asyncio.sleep(0)
    await create(driver, 50)
    assert not attack.done()
    attack.cancel()


async def test_a_refused_command_costs_the_others_few_transactions(driver, databases, database):
    session = await asyncpg.connect(databases.server.url(database))
    await session.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE data_exception; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.title = 'poison') EXECUTE FUNCTION refuse()"
    )
    try:
        before = driver.store.facts()["commits"]
        outcomes = await asyncio.gather(
            *(driver.create(title="poison" if n == 30 else "fine") for n in range(64)), return_exceptions=True
        )
        assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [30]
        assert driver.store.facts()["commits"] - before <= 8
    finally:
        await session.execute("DROP FUNCTION refuse CASCADE")
        await session.close()


async def test_a_tenant_that_sends_many_commands_delays_another_by_one_group(monkeypatch, driver):
    monkeypatch.setattr(
        session_limits, "batches_max", 1
    )  # with several at once, the others go on while one commits
    done = 0

    async def flood():
        nonlocal done
        await driver.create()
        done += 1

    tenant.set("flood")
    flooding = [asyncio.ensure_future(flood()) for _ in range(1_000)]
    await asyncio.sleep(0)
    tenant.set("other")
    await driver.create(project_id=OTHER)
    assert done <= 2 * session_limits.batch_commands_max
    await asyncio.gather(*flooding)


async def test_a_lane_is_bounded(monkeypatch, driver, holding):
    monkeypatch.setattr(session_limits, "lane_commands_max", 3)
    await driver.create("run-1")
    session = await holding("SELECT 1 FROM runs FOR UPDATE")
    touches = [asyncio.ensure_future(driver.touch("run-1")) for _ in range(5)]
    await eventually(lambda: driver.store.facts()["blocked_writes"] == 3)
    await session.execute("ROLLBACK")
    outcomes = await asyncio.gather(*touches, return_exceptions=True)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None] * 3 + ["PROJECT_BUSY"] * 2


async def test_the_store_is_not_ready_while_no_run_can_be_written(
    monkeypatch, open_driver, databases, database, holding
):
    from runstead.engines.postgres import connection

    monkeypatch.setitem(connection._SESSION, "lock_timeout", "200")
    driver = await open_driver(databases.server.url(database))
    assert (await driver.store.check())["engine"] == "postgres"
    await holding("LOCK TABLE runs IN SHARE MODE")
    with pytest.raises(Error, match="stayed locked") as caught:
        await driver.store.check()
    assert caught.value.code == "STORE_UNAVAILABLE"


async def test_the_store_is_not_ready_while_a_group_is_stuck(monkeypatch, driver):
    monkeypatch.setattr(session_limits, "write_stuck_s", 0.2)
    release = asyncio.Event()

    async def stuck(*_, **__):
        await release.wait()
        raise Error("STORE_UNAVAILABLE", "gone")

    monkeypatch.setattr(driver.store._group_commit, "_decide", stuck)
    create = asyncio.ensure_future(driver.create())
    await asyncio.sleep(0.3)
    with pytest.raises(Error, match="have waited") as caught:
        await driver.store.check()
    assert (caught.value.code, caught.value.retry_after_s) == ("STORE_UNAVAILABLE", 1)
    release.set()
    await asyncio.gather(create, return_exceptions=True)


async def test_a_locked_run_is_waited_for_beside_a_run_whose_compensations_are_created(driver, holding):
    for run_id in ("run-1", "run-2"):
        await driver.create(run_id)
    await driver.compensate("run-2")
    session = await holding("SELECT 1 FROM runs WHERE run_id = 'run-1' FOR UPDATE")
    waiting = asyncio.ensure_future(driver.touch("run-1"))
    ended = await driver.complete("run-2", "failed")
    assert [run.target for run in ended.compensations] == ["task:undo"]
    assert not waiting.done()
    await session.execute("ROLLBACK")
    assert (await waiting).run.version == 2
