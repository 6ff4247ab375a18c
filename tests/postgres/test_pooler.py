"""PgBouncer in session mode works, with the settings of sessions. In other modes it is refused at the start."""

import asyncio
import os
import shutil
import socket
import subprocess

import asyncpg
import pytest

from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.postgres import connection as sessions
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.store import PostgresStore
from tests.support.postgres_server import PostgresServer
from tests.support.until import until

from .test_failover import insist, on

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
IGNORED = ",".join(sessions._SESSION.keys() - {"application_name"} | {"default_transaction_read_only"})


def accepts(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def pooled(own_server):
    """pooled(mode, server, settings): the URL of a database behind PgBouncer."""
    started = []

    def start(mode, server=own_server, **settings):
        home = server.home / mode
        home.mkdir()
        settings |= {"pool_mode": mode, "auth_type": "trust", "auth_file": home / "users", "listen_addr": ""}
        settings |= {"unix_socket_dir": home, "unix_socket_mode": "0777", "logfile": home / "log"}
        (home / "users").write_text('"postgres" ""\n')
        lines = [f"{name} = {value}" for name, value in settings.items()]
        text = "\n".join(["[databases]", f"* = host={server.home}", "[pgbouncer]", *lines, ""])
        (home / "ini").write_text(text)
        who = server._who
        if who:
            os.chown(home, who["user"], who["group"])
        started.append(subprocess.Popen([PROGRAM, "-q", home / "ini"], stderr=subprocess.DEVNULL, **who))
        until(lambda: accepts(home / ".s.PGSQL.6432"), "PgBouncer")
        return f"postgresql://postgres@/postgres?host={home}&port=6432"

    yield start
    for process in started:
        process.kill()  # it would wait for its clients
        process.wait()


@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": IGNORED}], ids=["refuses", "ignores"])
async def test_in_session_mode_sessions_have_their_settings(pooled, settings, open_driver):
    url = pooled("session", max_client_conn=100, default_pool_size=50, **settings)
    connection = await connect(url, statement_timeout="1234")
    assert await connection.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
    assert await connection.fetchval("SHOW statement_timeout") == "1234ms"
    await connection.close()
    driver = await open_driver(url)
    await driver.create("run-1")
    assert (await driver.row("run-1")).run_id == "run-1"
    notifiers = [PostgresNotifier(url, LocalNotifier()) for _ in range(2)]
    for notifier in notifiers:
        await notifier.open()
    with notifiers[1].subscribe("key") as signal:
        async with asyncio.timeout(60):
            while not signal.is_set():
                notifiers[0].publish(["key"])
                await asyncio.sleep(0.01)
    for notifier in notifiers:
        await notifier.close()


@pytest.mark.parametrize(("mode", "prepared"), [("transaction", 0), ("transaction", 200), ("statement", 200)])
async def test_other_modes_are_refused_at_the_start_and_nothing_is_changed(
    pooled, own_server, mode, prepared
):
    url = pooled(mode, max_prepared_statements=prepared)
    with pytest.raises(RuntimeError, match=r"transaction or statement mode is before it.*pool_mode=session"):
        await PostgresStore(url).open()
    direct = await asyncpg.connect(own_server.url())
    assert await direct.fetchval("SELECT to_regclass('schema_migrations')") is None
    await direct.close()


@pytest.fixture
def standby(own_server):
    started = PostgresServer(own_server)
    yield started
    started.remove()


async def test_a_standby_that_took_over_is_found_behind_pgbouncer(standby, pooled, own_server, open_driver):
    """PgBouncer goes on to report that its server is a standby, as it was when PgBouncer first connected, and does not reach
    the other one any more.
    """
    hosts = [own_server.home / "session", standby.home / "session"]
    before = await asyncpg.connect(pooled("session", standby))
    assert await before.fetchval("SELECT pg_is_in_recovery()")
    pooled("session")
    url = f"postgresql://postgres@/postgres?host={','.join(map(str, hosts))}&port=6432,6432"
    driver = await open_driver(url)
    await driver.create("run-1")
    await on(own_server, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    await driver.create("run-2")
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(standby.promote)
    assert {run.run_id for run in await insist(driver.rows)} == {"run-1", "run-2"}
    await before.close()
