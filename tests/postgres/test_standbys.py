"""Reads at a standby contain every acknowledged write: of any replica, whatever the standby or the cluster does."""

import asyncio
import random
import re
from contextlib import asynccontextmanager, suppress

import asyncpg
import httpx2
import pytest

from runstead.cli import local_checks
from runstead.commands.app import App
from runstead.core.errors import Error
from runstead.core.identity.tenant import tenant
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.store import PostgresStore
from runstead.ports import metrics
from runstead.ports.notifier import run_key
from runstead.ports.store import RunQuery
from runstead.server.settings import SettingError, load
from tests.support.postgres_server import CLEAR, PostgresServer
from tests.support.server import Server
from tests.support.store_driver import PROJECT, StoreDriver, event
from tests.support.until import eventually
from tests.web.plain_browser import PlainBrowser


@pytest.fixture(scope="module")
def cluster():
    """A primary and its hot standby, which ends a statement at once that its replay waits for."""
    primary = PostgresServer(synchronous_commit="on")
    standby = PostgresServer(primary, max_standby_streaming_delay="0", max_standby_archive_delay="0")
    yield primary, standby
    standby.remove()
    primary.remove()


@pytest.fixture
async def clean(cluster):
    """The cluster without runs, and with its replay running."""
    primary, standby = cluster
    yield cluster
    await on(standby, "SELECT pg_wal_replay_resume()")
    await on(primary, *CLEAR)


@pytest.fixture(autouse=True)
def project():
    """Reads are those of a project, not of the server itself."""
    before = tenant.set(PROJECT)
    yield
    tenant.reset(before)


async def on(server, *statements):
    connection = await asyncpg.connect(server.url())
    try:
        for statement in statements:
            while True:
                try:
                    found = await connection.fetch(statement)
                    break
                except asyncpg.SerializationError:
                    pass  # a conflict with the replay
        return found
    finally:
        await connection.close()


async def until(server, condition):
    async with asyncio.timeout(60):
        while not (await on(server, f"SELECT {condition}"))[0][0]:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(primary, *standbys):
    hosts = ",".join(str(one.home) for one in standbys)
    store = PostgresStore(primary, read_url=f"postgresql://postgres@/postgres?host={hosts}")
    await store.open()
    try:
        yield StoreDriver(store, None)
    finally:
        await store.close()


def reads(outcome):
    return metrics.registry.get_sample_value("runstead_standby_reads_total", {"outcome": outcome})


def state(driver):
    return driver.store.facts()["standbys"][0]["state"]


async def ids(driver, *statuses):
    page = await driver.runs.page(RunQuery((PROJECT,), statuses=statuses, limit=1_000))
    return {run.run_id for run in page.rows}


async def test_a_list_contains_every_acknowledged_write_of_both_replicas_while_replay_stops_and_goes_on(
    clean,
):
    primary, standby = clean
    dice = random.Random(7)
    async with opened(primary.url(), standby) as one, opened(primary.url(), standby) as two:
        await eventually(lambda: state(one) == state(two) == "in use")
        before = {outcome: reads(outcome) for outcome in ("served", "behind")}
        created, completed = set(), set()
        for step in range(60):
            if step % 20 == 10:
                await on(standby, "SELECT pg_wal_replay_pause()")
            elif step % 20 == 0:
                await on(standby, "SELECT pg_wal_replay_resume()")
                await eventually(lambda: state(one) == state(two) == "in use")
            writer, reader = dice.choice((one, two)), dice.choice((one, two))
            if created - completed and dice.random() < 0.4:
                run_id = min(created - completed)
                await writer.complete(run_id)
                completed.add(run_id)
            else:
                await writer.create(f"run-{step:02}")
                created.add(f"run-{step:02}")
            assert await ids(reader) == created
            assert await ids(reader, "completed") == completed
        assert reads("served") > before["served"] + 20
        assert reads("behind") > before["behind"]  # and few reads waited for it: a check finds it first


async def collected(app, run, last):
    got = []
    async for frames in app.followers.follow(run, 0, lambda one: b"%d " % one.event_id):
        got += map(int, (frames or b"").split())
        if got and got[-1] >= last:
            return got
    return got


async def test_streams_of_both_replicas_lose_and_repeat_nothing_while_replay_stops_and_goes_on(clean):
    primary, standby = clean
    async with opened(primary.url(), standby) as one, opened(primary.url(), standby) as two:
        notifiers = [PostgresNotifier(primary.url(), LocalNotifier()) for _ in range(2)]
        for notifier in notifiers:
            await notifier.open()
        apps = [App(driver.store, notifier) for driver, notifier in zip((one, two), notifiers, strict=True)]
        run = await one.create("run-1")
        for _ in range(20):
            await one.append("run-1", *(event() for _ in range(20)))
        await eventually(lambda: state(one) == state(two) == "in use")
        served = reads("served")
        following = [
            asyncio.create_task(collected(app, await one.row("run-1"), 600)) for app in apps for _ in range(3)
        ]
        await eventually(lambda: reads("served") > served)
        await on(standby, "SELECT pg_wal_replay_pause()")
        for _ in range(10):
            await two.append("run-1", *(event() for _ in range(20)))
            notifiers[1].publish([run_key(run.seq)])
        late = asyncio.create_task(collected(apps[1], await two.row("run-1"), 600))
        for got in await asyncio.gather(*following, late):
            assert got == list(range(got[0], got[-1] + 1))
            assert (got[0], got[-1] >= 600) == (1, True)
        for app, notifier in zip(apps, notifiers, strict=True):
            app.stopping.set()
            await notifier.close()


async def test_a_stream_never_shows_an_event_whose_commit_may_still_be_lost(clean):
    """The standby has a commit before it is acknowledged. Here the acknowledgement never comes."""
    primary, standby = clean
    async with opened(primary.url(), standby) as driver:
        run = await driver.create("run-1")
        await driver.append("run-1", *(event() for _ in range(99)))
        run = await driver.row("run-1")
        await on(primary, "ALTER SYSTEM SET synchronous_standby_names = 'missing'", "SELECT pg_reload_conf()")
        try:
            while True:  # until the server has read its settings
                hanging = asyncio.create_task(driver.append("run-1", event()))
                newest = f"(SELECT max(event_id) FROM run_events WHERE run_seq = {run.seq})"
                await until(standby, f"{newest} > {run.latest_event_id}")
                waits = "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"
                while not hanging.done() and not (is_waiting := (await on(primary, f"SELECT {waits}"))[0][0]):
                    pass
                if not hanging.done() and is_waiting:
                    break
                run = await driver.row("run-1")
            served = reads("served")
            found = await driver.runs.events(run.seq, 0, 1_000, known=run.latest_event_id)
            assert found[-1].event_id == run.latest_event_id
            assert reads("served") == served + 1
            assert not hanging.done()
        finally:
            await on(primary, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        await hanging


async def test_a_read_that_the_replay_cancels_is_served_by_the_primary(clean):
    primary, standby = clean
    async with opened(primary.url(), standby) as driver:
        await eventually(lambda: state(driver) == "in use")
        asked, conflicts = [], reads("conflict")

        async def read(connection):
            asked.append(
                await connection.fetchval("SELECT pg_is_in_recovery() FROM runs RIGHT JOIN pulse ON true")
            )
            if asked[-1]:
                changing = asyncio.create_task(on(primary, "ALTER TABLE pulse ADD COLUMN made text"))
                await connection.fetchval("SELECT pg_sleep(600) FROM pulse")
                await changing
            return "read"

        assert await driver.store._readers.report(read) == "read"
        assert (asked, reads("conflict")) == ([True, False], conflicts + 1)
        await on(primary, "ALTER TABLE pulse DROP COLUMN made")


async def test_a_server_that_is_no_standby_or_of_another_database_serves_no_read(clean, databases):
    primary, _ = clean
    async with opened(primary.url(), primary, databases.server) as driver:
        assert [one["state"] for one in driver.store.facts()["standbys"]] == ["not a standby"] * 2
        await driver.create("run-1")
        assert await ids(driver) == {"run-1"}


async def test_after_a_failover_a_standby_with_the_history_of_the_old_primary_serves_no_read(own_server):
    """It is ahead: its position alone would do."""
    heir, left_behind = PostgresServer(own_server), PostgresServer(own_server)
    try:
        url = f"postgresql://postgres@/postgres?host={own_server.home},{heir.home}"
        async with opened(url, left_behind) as driver:
            await driver.create("run-1")
            await eventually(lambda: state(driver) == "in use")
            await on(heir, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
            await until(heir, "NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
            await driver.create("lost")
            await on(own_server, "CREATE TABLE ahead AS SELECT generate_series(1, 200000)")
            [(end,)] = await on(own_server, "SELECT pg_current_wal_flush_lsn()::text")
            await until(left_behind, f"pg_last_wal_replay_lsn() >= '{end}'")
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(heir.promote)
            async with asyncio.timeout(60):
                while True:
                    with suppress(Error):  # STORE_UNAVAILABLE
                        await driver.create("run-2")
                        break
            assert await ids(driver) == {"run-1", "run-2"}
            await eventually(lambda: state(driver) == "of another history")
            [(new,)] = await on(heir, "SELECT pg_current_wal_flush_lsn()::text")
            assert (await on(left_behind, f"SELECT pg_last_wal_replay_lsn() >= '{new}'"))[0][0]
    finally:
        left_behind.remove()
        heir.remove()


async def test_the_primary_serves_the_reads_of_a_standby_that_was_killed_until_it_is_back(clean, monkeypatch):
    primary, standby = clean
    async with opened(primary.url(), standby) as one, opened(primary.url(), standby) as two:
        await eventually(lambda: state(one) == state(two) == "in use")
        await asyncio.to_thread(standby.kill)
        for number, driver in enumerate((one, two)):
            await driver.create(f"run-{number}")
            assert len(await ids(driver)) == number + 1
        await eventually(lambda: state(one) == state(two) == "unreachable")
        assert (await one.store.check())["standbys"] == [{"state": "unreachable", "lag_bytes": None}]
        monkeypatch.setenv("RUNSTEAD_DATABASE_READ_URL", standby.url())
        found = await asyncio.to_thread(doctor, primary)
        assert (found.level, "is unreachable" in found.detail) == ("warn", True)
        await asyncio.to_thread(standby.start)
        served = reads("served")
        await eventually(lambda: state(one) == state(two) == "in use")
        assert await ids(one) == await ids(two) == {"run-0", "run-1"}
        assert reads("served") > served
        assert (await asyncio.to_thread(doctor, primary)).level == "ok"


def doctor(primary):
    return {one.check: one for one in local_checks.machine_checks(primary.url())}["standbys"]


async def test_a_server_with_the_setting_lists_what_it_created_and_shows_its_standbys(clean, tmp_path):
    primary, standby = clean
    server = Server(tmp_path, primary.url(), RUNSTEAD_DATABASE_READ_URL=standby.url())
    await asyncio.to_thread(server.start)
    try:
        headers = {"Authorization": f"Bearer {server.key}"}
        async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
            project = (await http.get("/projects")).json()["data"][0]["id"]
            for number in range(1, 11):
                run = {"project_id": project, "request": {"kind": "task", "target": "task:a", "input": {}}}
                created = await http.post("/runs", json={"kind": "task", **run})
                assert created.status_code == 202, created.text
                listed = (await http.get("/runs")).json()["data"]
                assert len(listed) == number
            served = 0.0
            async with asyncio.timeout(60):
                while not served:  # at first, the standby may be behind
                    assert len((await http.get("/runs")).json()["data"]) == number
                    shown = (await http.get("/metrics")).text
                    served = float(re.search(r'standby_reads_total{outcome="served"} (.*)', shown)[1])
            assert re.search(r'standby_in_use{standby="1"} [01]', shown)
            [facts] = (await http.get("/readyz")).json()["store"]["standbys"]
            assert facts["state"] in ("in use", "behind")
        with PlainBrowser(server.url, server.key) as browser:
            assert re.search("standbys: (in use|behind)", browser.page("/ui/system"))
    finally:
        server.kill()


def test_the_setting_needs_postgresql():
    standby = "postgresql://a:secret@db2/x"
    assert load({"RUNSTEAD_DATABASE_URL": "postgresql://a@db1/x", "RUNSTEAD_DATABASE_READ_URL": standby})
    with pytest.raises(SettingError, match="RUNSTEAD_DATABASE_URL is not postgresql"):
        load({"RUNSTEAD_DATABASE_READ_URL": standby})
    with pytest.raises(SettingError, match=r"must be postgresql://.*not mysql://\.\.\."):
        load({"RUNSTEAD_DATABASE_READ_URL": "mysql://a:secret@db2/x"})


async def test_a_standby_that_does_not_respond_delays_one_read_and_no_other(clean, monkeypatch):
    primary, standby = clean
    monkeypatch.setattr(session_limits, "standby_reply_s", 0.2)
    monkeypatch.setattr(session_limits, "standby_check_s", 600)
    async with opened(primary.url(), standby) as driver:
        assert await ids(driver) == set()
        stuck = asyncio.get_running_loop().create_future()

        async def silent(*_):
            await asyncio.wait_for(stuck, session_limits.standby_reply_s)

        monkeypatch.setattr(driver.store._standbys.all[0], "catch_up", silent)
        assert await ids(driver) == set()
        assert state(driver) == "unreachable"
        monkeypatch.setattr(driver.store._standbys.all[0], "catch_up", None)
        assert await ids(driver) == set()
