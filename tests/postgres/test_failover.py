"""A URL with several hosts: sessions are at the primary, also after a standby took over, and nothing acknowledged is lost."""

import asyncio
import socket
from contextlib import closing

import asyncpg
import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.transition import Transition
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import address, connect
from runstead.engines.postgres.hosts import connect_to_primary, hosts_of
from runstead.engines.postgres.store import PostgresStore
from tests.support.postgres_server import PostgresServer


@pytest.fixture
def cluster(own_server):
    """A primary and its hot standby."""
    standby = PostgresServer(own_server)
    yield own_server, standby
    standby.remove()


def url_of(*servers, **parameters):
    more = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"postgresql://postgres@/postgres?host={','.join(str(one.home) for one in servers)}{more}"


async def on(server, *statements):
    connection = await asyncpg.connect(server.url())
    try:
        for statement in statements:
            found = await connection.fetch(statement)
        return found
    finally:
        await connection.close()


async def until(condition):
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.02)


async def insist(work):
    """Repeat what is refused while there is no primary."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await work()
            except Error as error:
                if error.code != "STORE_UNAVAILABLE":
                    raise
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a:b@db1,db2/x", [("db1", 5432), ("db2", 5432)]),
        ("postgresql://a@db1:1,[::1]:2,db3/x", [("db1", 1), ("::1", 2), ("db3", 5432)]),
        ("postgresql://a@/x?host=db1,db2&port=1,2", [("db1", 1), ("db2", 2)]),
        ("postgresql://a@/x?host=/run/a,::1&port=7", [("/run/a", 7), ("::1", 7)]),
        ("postgresql://a@%2Frun%2Fa/x", [("/run/a", 5432)]),
        ("postgresql:///x", [("", 5432)]),
    ],
)
def test_the_hosts_of_a_url(url, hosts, monkeypatch):
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    assert hosts_of(url) == hosts


def test_messages_name_all_hosts_and_no_password():
    assert address("postgresql://ada:secret@db1:1,db2:2/x?target_session_attrs=primary") == "db1:1,db2:2/x"


@pytest.mark.parametrize("attributes", ["standby", "read-only", "prefer-standby"])
async def test_a_url_that_demands_a_standby_is_refused_with_what_to_do(attributes):
    store = PostgresStore(f"postgresql://ada@db1,db2/x?target_session_attrs={attributes}")
    with pytest.raises(
        RuntimeError, match=f"db1,db2/x: its URL has target_session_attrs={attributes}.*leave it"
    ):
        await store.open()


async def test_after_a_failover_all_sessions_are_at_the_new_primary_and_every_acknowledged_run_is_there(
    cluster, open_driver
):
    primary, standby = cluster
    with pytest.raises(RuntimeError, match="it is a standby, and every session needs the primary"):
        await PostgresStore(url_of(standby)).open()
    # So that a commit is acknowledged when both servers have it.
    await on(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")

    async def synchronous():
        return [row[0] for row in await on(primary, "SELECT sync_state FROM pg_stat_replication")] == ["sync"]

    await until(synchronous)
    # The standby is first. A session that is read-only by its own setting is not refused for `read-write`.
    url = url_of(standby, primary, target_session_attrs="read-write")
    driver = await open_driver(url)
    notifiers = [PostgresNotifier(url, LocalNotifier()) for _ in range(2)]
    for notifier in notifiers:
        await notifier.open()
    await driver.store.leadership.lead("one", 60_000)
    acknowledged, stop = [], asyncio.Event()

    async def create_runs(name):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                await driver.create(f"{name}-{number}")
            except Error as error:
                if error.code != "STORE_UNAVAILABLE":
                    raise
                await asyncio.sleep(0.02)
            else:
                acknowledged.append(f"{name}-{number}")

    clients = [asyncio.create_task(create_runs(name)) for name in "abcd"]

    async def more(count):
        before = len(acknowledged)

        async def grown():
            return len(acknowledged) >= before + count

        await until(grown)

    await more(50)
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)
    await more(50)
    stop.set()
    await asyncio.gather(*clients)
    stored = {run.run_id for run in await insist(driver.rows)}
    assert set(acknowledged) <= stored
    assert (await insist(lambda: driver.store.leadership.lead("one", 60_000))).owner == "one"
    with notifiers[1].subscribe("key") as signal:

        async def heard():
            notifiers[0].publish(["key"])
            return signal.is_set()

        await until(heard)
    for notifier in notifiers:
        await notifier.close()


async def test_a_commit_that_only_the_lost_primary_had_is_not_acknowledged(cluster, open_driver, monkeypatch):
    """The new primary uses the numbers of lost transactions again, so it reports that this one is committed."""
    primary, standby = cluster
    driver = await open_driver(url_of(primary, standby))
    await driver.create("run-1")
    [(lsn,)] = await on(primary, "SELECT pg_current_wal_flush_lsn()::text")

    async def has_it():
        return (await on(standby, f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"))[0][0]

    await until(has_it)
    await on(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")

    async def alone():
        return await on(primary, "SELECT FROM pg_stat_replication") == []

    await until(alone)
    execute, armed = asyncpg.Connection.execute, [True]

    async def lost_at_commit(self, query, *arguments, **options):
        done = await execute(self, query, *arguments, **options)
        if query.startswith("COMMIT") and armed:
            armed.clear()
            [(last,)] = await on(primary, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(standby.promote)
            await on(
                standby,
                "DO $$ BEGIN WHILE pg_current_xact_id()::text::bigint <= "
                f"{last} LOOP COMMIT; END LOOP; END $$",
            )
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return done

    monkeypatch.setattr(asyncpg.Connection, "execute", lost_at_commit)
    with pytest.raises(Error, match="look whether it was stored") as caught:
        await driver.change(
            "run-1", lambda to: Transition(transitions.rewrite(to.run, to.now, title="written"))
        )
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert not armed
    assert (await driver.row("run-1")).title is None


async def test_one_search_finds_the_primary_for_all_sessions_and_no_silent_host_delays_it(
    own_server, monkeypatch
):
    monkeypatch.setattr(limits, "connect_s", 4)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.setblocking(False)
        port = silent.getsockname()[1]
        url = f"postgresql://postgres@/postgres?host=127.0.0.1,{own_server.home}&port={port},5432"
        for connection in await asyncio.gather(*(connect(url) for _ in range(10))):
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()
        await (await connect(url)).close()
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # only the search was there
            silent.accept()


async def test_few_sessions_are_opened_at_a_time():
    running = most = 0

    async def open_at():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await asyncio.gather(*(connect_to_primary("postgresql://ada@db1/x", open_at) for _ in range(32)))
    assert most == session_limits.opening_max


@pytest.fixture
async def waiting(own_server, open_driver, monkeypatch):
    """A store whose commits wait for a standby that is lost, and waiting(): until one does."""
    monkeypatch.setattr("runstead.engines.postgres.session_limits.in_doubt_s", 0.5)
    driver = await open_driver(own_server.url())
    await driver.create("run-1")
    await on(own_server, "ALTER SYSTEM SET synchronous_standby_names = 'lost'", "SELECT pg_reload_conf()")

    async def sessions():
        return await on(own_server, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    driver.sessions = sessions
    yield driver
    await on(own_server, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def written(to):
    return Transition(transitions.rewrite(to.run, to.now, title="written"))


async def is_shown(server):
    return await on(server, "SELECT FROM runs WHERE title = 'written'") != []


async def test_a_commit_that_waits_too_long_for_a_standby_is_neither_acknowledged_nor_shown(
    waiting, own_server, monkeypatch
):
    monkeypatch.setattr("runstead.engines.postgres.commit.transaction.silence_s", lambda: 0.5)
    with pytest.raises(Error, match="look whether it was stored"):
        await waiting.change("run-1", written)
    assert not await is_shown(own_server)


async def test_a_caller_that_leaves_does_not_show_what_a_standby_does_not_have(
    waiting, own_server, monkeypatch
):
    monkeypatch.setattr("runstead.engines.postgres.commit.transaction.silence_s", lambda: 2)

    async def write(connection, now):
        await connection.execute("UPDATE runs SET title = 'written'")

    caller = asyncio.create_task(waiting.store._writer.do(write))
    await until(waiting.sessions)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not await is_shown(own_server)


async def test_a_commit_whose_session_ends_before_a_standby_has_it_is_not_acknowledged(waiting, own_server):
    """PostgreSQL reports it as committed from then on."""
    change = asyncio.create_task(waiting.change("run-1", written))
    await until(waiting.sessions)
    await on(
        own_server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    with pytest.raises(Error, match="look whether it was stored"):
        await change


async def test_sessions_at_a_primary_that_was_replaced_are_closed(cluster):
    """It may have been stopped, and would answer with old data when it continues."""
    primary, standby = cluster
    url = url_of(primary, standby)
    old = await connect(url)
    pending = asyncio.create_task(old.fetchval("SELECT pg_sleep(600)"))
    (primary.home / ".s.PGSQL.5432").unlink()
    await asyncio.to_thread(standby.promote)
    new = await connect(url)
    assert old.is_closed()
    with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
        await pending
    await new.close()
