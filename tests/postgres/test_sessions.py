"""Tenants share the sessions of a replica: none of them holds so many that others, or authentication, wait."""

import asyncio
from types import SimpleNamespace

import asyncpg
import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.tenant import AUTHENTICATION, SERVER, tenant
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.relay import Relay
from runstead.engines.postgres import migrate as migrations, session_limits
from runstead.engines.postgres.connection import connect_alone
from tests.support.until import eventually

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%'"
    " AND pid <> pg_backend_pid() AND datname = current_database()"
)
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def sleep(seconds):
    return lambda connection: connection.fetchval(f"SELECT pg_sleep({seconds})")


def as_tenant(name, work):
    """Start the work as a task for the tenant."""

    async def run():
        tenant.set(name)
        return await work()

    return asyncio.ensure_future(run())


async def test_slow_queries_of_a_tenant_delay_no_read_of_others(patient, driver, sql):
    readers = driver.store._readers
    for name in ("b", SERVER, AUTHENTICATION):  # open sessions
        await as_tenant(name, lambda: readers.scan(sleep(0)))
        await as_tenant(name, lambda: readers.do(sleep(0)))
    attack = [as_tenant("a", lambda: readers.scan(sleep(600))) for _ in range(16)]
    attack += [as_tenant("a", lambda: readers.do(sleep(600))) for _ in range(16)]
    attack += [as_tenant("a", lambda: readers.report(sleep(600))) for _ in range(4)]
    await eventually(
        lambda: (
            sql(SLEEPING)[0][0] == limits.scans_per_project_max + session_limits.points_per_project_max + 1
        )
    )
    async with asyncio.timeout(60):
        for name in ("b", SERVER, AUTHENTICATION):
            await as_tenant(name, lambda: readers.scan(sleep(0)))
            await as_tenant(name, lambda: readers.do(sleep(0)))
    for task in attack:
        task.cancel()
    await asyncio.gather(*attack, return_exceptions=True)


async def test_slow_writes_of_a_tenant_delay_neither_others_nor_readiness(patient, driver, sql):
    writer = driver.store._writer
    await driver.store.check()
    attack = [
        as_tenant("a", lambda: writer.do(lambda c, _: c.execute("SELECT pg_sleep(600)"))) for _ in range(12)
    ]
    await eventually(lambda: sql(SLEEPING)[0][0] == session_limits.postgres_writers_per_project_max)
    async with asyncio.timeout(60):
        await as_tenant("b", lambda: writer.do(lambda c, _: c.execute("SELECT 1")))
        await driver.store.check()
    assert not any(task.done() for task in attack)
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)'")
    for task in attack:
        task.cancel()
    await asyncio.gather(*attack, return_exceptions=True)


async def test_the_statement_of_a_cancelled_read_ends_and_its_session_is_used_again(driver, sql):
    readers = driver.store._readers
    pid = await as_tenant("a", lambda: readers.scan(lambda c: c.fetchval("SELECT pg_backend_pid()")))
    read = as_tenant("a", lambda: readers.scan(sleep(60)))
    await eventually(lambda: sql(SLEEPING)[0][0] == 1)
    read.cancel()
    await eventually(lambda: sql(SLEEPING)[0][0] == 0 and not readers._scans._pool._recovering)
    again = as_tenant("a", lambda: readers.scan(lambda c: c.fetchval("SELECT pg_backend_pid()")))
    assert await again == pid


async def test_a_read_that_is_cancelled_within_a_snapshot_leaves_a_session_that_works(driver, sql):
    readers = driver.store._readers

    async def in_snapshot(connection):
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetchval("SELECT pg_sleep(60)")

    read = as_tenant("a", lambda: readers.report(in_snapshot))
    await eventually(lambda: sql(SLEEPING)[0][0] == 1)
    read.cancel()
    await eventually(lambda: sql(SLEEPING)[0][0] == 0)
    assert await as_tenant("a", lambda: readers.report(lambda c: c.fetchval("SELECT 1"))) == 1


@pytest.mark.parametrize(
    ("kind", "method", "code"),
    [
        ("point", "do", "STORE_UNAVAILABLE"),
        ("scan", "scan", "QUERY_TOO_SLOW"),
        ("report", "report", "QUERY_TOO_SLOW"),
    ],
)
async def test_each_kind_of_read_has_its_statement_timeout(
    monkeypatch, open_driver, databases, database, kind, method, code
):
    monkeypatch.setattr(session_limits, f"{kind}_statement_s", 0.2)
    driver = await open_driver(databases.server.url(database))
    read = getattr(driver.store._readers, method)
    with pytest.raises(Error) as caught:
        await as_tenant("a", lambda: read(sleep(5)))
    assert caught.value.code == code
    with pytest.raises(asyncpg.DivisionByZeroError):  # other failures stay themselves
        await as_tenant("a", lambda: read(lambda c: c.fetchval("SELECT 1 / 0")))


async def test_reads_that_wait_are_bounded(monkeypatch, driver):
    readers = driver.store._readers
    many = limits.scans_per_project_max + limits.scans_waiting_per_project_max
    reads = [as_tenant("a", lambda: readers.scan(sleep(0.05))) for _ in range(many + 3)]
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Error)]
    assert [error.code for error in refused] == ["PROJECT_BUSY"] * 3
    assert refused[0].retry_after_s == 1


async def test_a_migration_behind_an_open_reader_blocks_no_running_replica(
    monkeypatch, driver, databases, database, sql
):
    await driver.create("run-1")
    url = databases.server.url(database)
    reader, migrating = await asyncpg.connect(url), await connect_alone(url)
    await reader.execute("BEGIN")
    await reader.execute("SELECT count(*) FROM runs")
    known = migrations._known()
    change = {"9999_more.sql": "ALTER TABLE runs ADD COLUMN more integer"}
    monkeypatch.setattr(migrations, "_known", lambda: known | change)
    monkeypatch.setattr(session_limits, "migration_pause_s", 0.2)
    migration = asyncio.ensure_future(migrations.migrate(migrating))
    try:
        for _ in range(2):  # twice, while the migration waits for its lock: reads and writes queue behind it
            await eventually(lambda: sql(WAITING))
            # They would be refused after session_limits.lock_s, if it waited until the reader has ended.
            await driver.row("run-1")
            await driver.touch("run-1")
            await eventually(lambda: not sql(WAITING))
        assert not migration.done()
        await reader.execute("ROLLBACK")
        assert await migration == ["9999_more.sql"]
    finally:
        await reader.close()
        await migrating.close()
        sql("ALTER TABLE runs DROP COLUMN IF EXISTS more")
        sql("DELETE FROM schema_migrations WHERE name = '9999_more.sql'")


class _Flapping(Relay):
    """Its connection is lost as soon as it is there."""

    carrier = "none"

    async def _connect_and_send(self):
        self._on_connected()
        raise ConnectionError("lost")


async def test_a_connection_for_notifications_that_is_lost_again_and_again_is_opened_less_often(monkeypatch):
    pauses = []
    real = asyncio.sleep

    async def pause(seconds):
        pauses.append(seconds)
        await real(0)

    patched = SimpleNamespace(
        **vars(asyncio) | {"sleep": pause}
    )  # other servers of this process sleep as before
    monkeypatch.setattr("runstead.engines.notifiers.relay.asyncio", patched)
    notifier = _Flapping(LocalNotifier())
    await notifier.open()
    while len(pauses) < 20:
        await real(0)
    await notifier.close()
    for number, seconds in enumerate(pauses[:20]):
        most = min(limits.reconnect_s_first * 2**number, limits.reconnect_s_max)
        assert most / 2 <= seconds <= most
    assert len(set(pauses[10:20])) > 5  # replicas do not return all at once
