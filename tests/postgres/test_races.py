"""Conflicts with other transactions are retried, or reported in time."""

import asyncio
from types import SimpleNamespace

import asyncpg
import pytest

from runstead.commands.budgets import settle_some
from runstead.core.budgets.budget import Budget
from runstead.core.errors import Error
from tests.support.store_driver import PROJECT

FAIL_ONCE = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('failures') <= {times} THEN
    RAISE EXCEPTION 'not now' USING ERRCODE = '{state}';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fail_at_first BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail_at_first();
"""
WELL_AGAIN = "DROP FUNCTION IF EXISTS fail_at_first CASCADE; DROP SEQUENCE IF EXISTS failures;"


@pytest.fixture
async def other(databases, database):
    """Another session."""
    session = await asyncpg.connect(databases.server.url(database))
    yield session
    await session.close()


@pytest.fixture
async def failing(other):
    """failing(table, state, times): the next updates of the table fail."""

    async def fail(table, state, times):
        await other.execute(FAIL_ONCE.format(table=table, state=state, times=times))

    yield fail
    await other.execute(WELL_AGAIN)


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_serialization_failure_or_deadlock_is_tried_again(driver, failing, state):
    await driver.create("run-1")
    await failing("runs", state, 3)
    assert (await driver.touch("run-1", title="x")).run.version == 2


async def test_a_batch_that_met_one_is_done_again(driver, failing):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(5)))
    await failing("runs", "40001", 3)
    written = await asyncio.gather(*(driver.touch(f"run-{n}") for n in range(5)))
    assert [each.run.version for each in written] == [2] * 5
    assert [run.version for run in await driver.rows()] == [2] * 5


async def test_a_job_that_met_one_is_done_again(driver, failing):
    await failing("pulse", "40001", 3)
    assert (await driver.store.check())["engine"] == "postgres"


async def test_trying_again_has_an_end(driver, failing):
    await driver.create("run-1")
    await failing("runs", "40001", 1_000)
    with pytest.raises(Error, match="conflicted with other transactions") as caught:
        await driver.touch("run-1")
    assert (caught.value.code, caught.value.retry_after_s) == ("STORE_UNAVAILABLE", 1)


async def blocked(sql):
    """Wait until a session of the store waits for a lock."""
    async with asyncio.timeout(30):
        while not sql(  # noqa: ASYNC110 - there is no event to wait for
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'runstead'"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.005)


async def test_a_deadlock_is_retried(driver, other, sql):
    await asyncio.gather(driver.create("run-1"), driver.create("run-2"))
    await other.execute("SET deadlock_timeout = '60s'")  # so that it is the store that finds it
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1 FROM runs WHERE run_id = 'run-2' FOR UPDATE")
    ours = asyncio.gather(driver.touch("run-1"), driver.touch("run-2"))
    await blocked(sql)
    await other.execute("SELECT 1 FROM runs WHERE run_id = 'run-1' FOR UPDATE")
    await transaction.commit()
    assert [written.run.version for written in await ours] == [2, 2]


async def test_a_row_that_stays_locked_holds_up_its_own_command_alone(
    monkeypatch, open_driver, databases, database, other
):
    monkeypatch.setitem(desk_settings(), "lock_timeout", "150")
    driver = await open_driver(databases.server.url(database))
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(3)))
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1 FROM runs WHERE run_id = 'run-1' FOR UPDATE")
    outcomes = await asyncio.gather(*(driver.touch(f"run-{n}") for n in range(3)), return_exceptions=True)
    await transaction.rollback()
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None, "STORE_UNAVAILABLE", None]
    assert "stayed locked" in outcomes[1].message
    assert (await driver.touch("run-1")).run.version == 2


async def test_commands_on_other_rows_do_not_wait_for_a_locked_row(patient, driver, other, sql):
    """Commands that come while a transaction waits get one of their own."""
    await asyncio.gather(driver.create("run-1"), driver.create("run-2"))
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1 FROM runs WHERE run_id = 'run-1' FOR UPDATE")
    stuck = asyncio.ensure_future(driver.touch("run-1"))
    await blocked(sql)
    for _ in range(5):
        await asyncio.wait_for(driver.touch("run-2"), 30)
    assert not stuck.done()
    await transaction.rollback()
    assert (await stuck).run.version == 2


async def test_a_statement_that_takes_too_long_is_ended(monkeypatch, open_driver, databases, database, other):
    monkeypatch.setitem(desk_settings(), "statement_timeout", "150")
    driver = await open_driver(databases.server.url(database))
    await driver.create("run-1")
    await other.execute(
        "CREATE FUNCTION fail_at_first() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$;"
        "CREATE TRIGGER slow BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION fail_at_first();"
    )
    with pytest.raises(Error, match="took more than") as caught:
        await driver.touch("run-1")
    assert (caught.value.code, caught.value.retry_after_s) == ("STORE_UNAVAILABLE", 1)
    await other.execute(WELL_AGAIN)
    assert (await driver.touch("run-1")).run.version == 2


async def test_a_stalled_transaction_is_ended(monkeypatch, open_driver, databases, database):
    """As one that was frozen, or whose machine was lost, does."""
    url = databases.server.url(database)
    monkeypatch.setitem(desk_settings(), "idle_in_transaction_session_timeout", "200")
    from runstead.engines.postgres.connection import connect

    driver = await open_driver(url)
    await driver.create("run-1")
    frozen = await connect(url)
    await frozen.execute("BEGIN")
    await frozen.execute("SELECT 1 FROM runs FOR UPDATE")
    assert (await asyncio.wait_for(driver.touch("run-1"), 30)).run.version == 2
    frozen.terminate()


async def test_too_many_writes_are_refused_at_once(monkeypatch, driver):
    monkeypatch.setattr("runstead.core.limits.writer_queue_max", 3)
    outcomes = await asyncio.gather(*(driver.create() for _ in range(5)), return_exceptions=True)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None] * 3 + ["STORE_BUSY"] * 2
    assert driver.store.facts()["queue_depth"] == 0


async def test_a_cancelled_caller_affects_no_other_command(driver):
    await driver.create("run-1")
    gone = asyncio.ensure_future(driver.touch("run-1"))
    stays = asyncio.ensure_future(driver.touch("run-1"))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).run.version == 3
    assert driver.store.facts()["queue_depth"] == 0


def desk_settings():
    """The settings of the store's sessions."""
    from runstead.engines.postgres import connection

    return connection._SESSION


async def test_compensations_that_end_at_once_at_two_replicas_queue_the_next_one(replicas):
    first, second = await replicas(2)
    for number in range(8):
        run_id = f"undone-{number}"
        await first.create(run_id)
        for undo in range(3):
            await first.compensate(run_id, f"task:undo-{undo}")
        one, two, three = (await first.cancel(run_id)).compensations
        await asyncio.gather(first.complete(one.run_id), second.cancel(two.run_id))
        assert (await first.row(three.run_id)).available_at is not None


STOPPED = """
WITH stopped AS (
  UPDATE runs SET status = 'waiting', waiting_reason = 'approval', waiting_tool_call_id = 'budget:budget-1',
    paused_available_at = available_at, available_at = NULL, version = version + 1
  WHERE run_id = 'run-1' RETURNING seq
)
INSERT INTO run_spending (run_seq, tokens, cost_micros, cost_rest, approved, waits_for)
SELECT seq, 0, 0, 0, '', 'budget-1' FROM stopped
"""


async def test_a_run_that_a_claim_stops_while_its_budget_is_deleted_continues(driver, other):
    """The claim has read the budget and has not committed when the loop looks at the runs that wait for it."""
    members = {"scope_kind": "project", "period": "day", "limit_tokens": 1, "on_reached": "pause"}
    budget = Budget(id="budget-1", project_id=PROJECT, name="B", **members)
    await driver.store.budgets.create(budget, lambda _count: None)
    await driver.create("run-1")
    await other.execute("SET application_name = 'runstead'")
    async with other.transaction():
        await other.execute(STOPPED)
        await driver.store.budgets.delete(PROJECT, "budget-1")
        app = SimpleNamespace(store=driver.store, publish=lambda _written: None)
        settling = asyncio.create_task(settle_some(app))
        await asyncio.wait([settling], timeout=0.5)  # it is done where it waits for nothing
    await settling
    run = await driver.row("run-1")
    assert (run.status, run.waiting_tool_call_id) == ("running", None)
