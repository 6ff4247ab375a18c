"""Batches in transactions that follow one another without BEGIN: nothing leaks from one into the next, and an idle one
is in nobody's way.
"""

import asyncio
import re

import asyncpg
import pytest

from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.transition import Transition
from runstead.engines.postgres import connection as sessions, session_limits
from runstead.engines.postgres.commit.transaction import Clock, Transactions
from tests.support.until import eventually

STATES = (
    "SELECT state, backend_xid, backend_xmin, (SELECT array_agg(locktype) FROM pg_locks AS l WHERE l.pid = a.pid) AS locks"
    " FROM pg_stat_activity AS a WHERE application_name = 'runstead' AND datname = current_database()"
    " AND state LIKE 'idle in transaction%'"
)


def rewrite(to, title="written"):
    return Transition(transitions.rewrite(to.run, to.now, title=title))


@pytest.fixture
def no_pause(monkeypatch):
    """A chain lasts as long as the test."""
    monkeypatch.setattr(session_limits, "chain_idle_s", 3600)
    monkeypatch.setattr(session_limits, "chain_s", 3600)


@pytest.fixture
def statements(monkeypatch):
    """What sessions were asked to execute, in order."""
    seen = []
    execute = asyncpg.Connection.execute

    async def noted(self, query, *arguments, **options):
        seen.append(query)
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", noted)
    return seen


async def test_a_batch_that_follows_another_needs_no_begin(driver, statements, no_pause):
    await driver.create("run-1")
    statements.clear()
    for _ in range(3):
        await driver.change("run-1", rewrite)
    marks = [query for query in statements if query.startswith(("BEGIN", "COMMIT"))]
    assert marks == ["BEGIN", "COMMIT AND CHAIN", "COMMIT AND CHAIN", "COMMIT AND CHAIN"]


async def test_an_idle_chain_holds_no_lock_and_no_snapshot(driver, sql, no_pause):
    await driver.create("run-1")
    await driver.change("run-1", rewrite)
    assert [tuple(row) for row in sql(STATES)] == [("idle in transaction", None, None, ["virtualxid"])]


async def test_vacuum_is_not_held_up_by_an_idle_chain(driver, databases, sql, no_pause):
    await driver.create("run-1")
    await driver.change("run-1", rewrite)
    assert len(sql(STATES)) == 1
    beside = await asyncpg.connect(databases.server.url(sql("SELECT current_database()")[0][0]))
    reports = []
    beside.add_log_listener(lambda _, message: reports.append(message.message))
    await beside.execute("UPDATE pulse SET at = at + 1")
    await beside.execute("VACUUM (VERBOSE) pulse")
    await eventually(lambda: reports)
    await beside.close()
    [left] = re.findall(r"(\d+) are dead but not yet removable", "\n".join(reports))
    assert left == "0"


async def test_a_chain_that_is_idle_ends_by_itself(driver, sql):
    await driver.create("run-1")
    for _ in range(3):
        await driver.change("run-1", rewrite)
        await eventually(lambda: not sql(STATES))
    assert (await driver.row("run-1")).version == 4


async def test_a_command_that_comes_while_a_chain_is_ended_waits_for_its_session(
    driver, sql, statements, monkeypatch
):
    monkeypatch.setattr(session_limits, "chain_idle_s", 0)
    await driver.create("run-1")
    for n in range(200):
        assert (await driver.change("run-1", rewrite)).run.version == n + 2
        if n % 3 == 0:
            await asyncio.sleep(0)
    writing = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND datname = current_database()"
    )
    assert sql(writing)[0][0] == 1
    assert {"COMMIT", "COMMIT AND CHAIN"} <= set(statements)


async def test_many_callers_open_no_more_sessions_than_there_may_be(driver, sql, monkeypatch):
    monkeypatch.setattr(session_limits, "chain_idle_s", 0)
    monkeypatch.setattr(session_limits, "batch_commands_max", 1)
    monkeypatch.setattr(session_limits, "batch_commands_min", 0)
    runs = [await driver.create(f"run-{n}") for n in range(12)]
    for _ in range(5):
        await asyncio.gather(*(driver.change(run.run_id, rewrite) for run in runs))
    mine = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND datname = current_database()"
    assert 1 < sql(mine)[0][0] <= session_limits.batches_max


async def test_tables_written_in_chains_are_still_reported_to_autovacuum(driver, sql, monkeypatch):
    monkeypatch.setattr(
        session_limits, "chain_idle_s", 3600
    )  # so that only the commit of each second reports
    await driver.create("run-1")
    written = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs'"
    before = sql(written)[0][0]
    async with asyncio.timeout(30):
        while sql(written)[0][0] < before + 100:
            for _ in range(20):
                await driver.change("run-1", rewrite)


async def test_a_chain_that_the_database_ended_for_its_idleness_is_replaced(
    driver, sql, monkeypatch, no_pause
):
    monkeypatch.setitem(sessions._SESSION, "idle_in_transaction_session_timeout", "50")
    await driver.create("run-1")
    await driver.change("run-1", rewrite)
    await eventually(lambda: not sql(STATES))
    assert (await driver.change("run-1", rewrite)).run.version == 3


async def test_a_lock_that_is_not_had_in_time_ends_the_chain_and_the_next_batch_starts_clean(
    driver, sql, monkeypatch, no_pause
):
    monkeypatch.setitem(sessions._SESSION, "lock_timeout", "50")
    await driver.create("run-1")
    await driver.create("run-2")
    await driver.change("run-2", rewrite)
    sql("BEGIN")
    sql("SELECT FROM runs WHERE run_id = 'run-1' FOR UPDATE")
    try:
        with pytest.raises(Error, match="a row stayed locked"):
            await driver.change("run-1", rewrite)
        assert sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] == 0
        assert (await driver.change("run-2", rewrite)).run.version == 3
    finally:
        sql("ROLLBACK")
    assert (await driver.change("run-1", rewrite)).run.version == 2


async def test_a_statement_that_fails_undoes_its_batch_alone(driver, no_pause):
    await driver.create("run-1")
    await driver.create("run-2")
    outcomes = await asyncio.gather(
        driver.change("run-1", lambda to: rewrite(to, "a\0b")),
        driver.change("run-2", rewrite),
        return_exceptions=True,
    )
    assert outcomes[0].code == "INVALID_REQUEST"
    assert outcomes[1].run.version == 2
    assert [run.version for run in (await driver.row("run-1"), await driver.row("run-2"))] == [1, 2]
    assert (await driver.change("run-1", rewrite)).run.version == 2


@pytest.mark.parametrize("chained", [False, True])
async def test_what_was_rolled_back_behind_our_back_is_not_acknowledged(
    databases, database, chained, no_pause
):
    transactions = Transactions(databases.server.url(database), Clock(None), 1, chained=chained)

    async def work(transaction):
        await transaction.moment()
        await transaction.connection.execute("UPDATE pulse SET at = 1")

    async def fails_unseen(transaction):
        await work(transaction)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await transaction.connection.execute("SELECT 1 / 0")

    for _ in range(2):
        await transactions.run(work)
        with pytest.raises(AssertionError, match="ROLLBACK"):
            await transactions.run(fails_unseen)
    await transactions.run(work)
    await transactions.close()
