"""The database goes down and comes back: commands that were not stored fail, and no server needs a restart."""

import asyncio

import asyncpg
import httpx2
import pytest

from runstead.commands.app import App
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.transition import Transition
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.store import PostgresStore
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.app import HttpApp

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'runstead' AND datname = current_database()"
)


def rewrite(to):
    return Transition(transitions.rewrite(to.run, to.now, title="written"))


async def test_sessions_that_broke_while_idle_are_replaced(driver, sql):
    await driver.create("run-1")
    await driver.row("run-1")
    sql(KILL)
    assert (await driver.touch("run-1", title="x")).run.title == "x"
    sql(KILL)
    assert (await driver.row("run-1")).title == "x"
    sql(KILL)
    assert (await driver.store.check())["engine"] == "postgres"


async def test_a_session_that_breaks_before_the_commit_is_replaced_and_the_work_done_again(driver, sql):
    await driver.create("run-1")
    times = []

    def rule(to):
        times.append(to.now)
        if len(times) == 1:
            sql(KILL)
        return rewrite(to)

    written = await driver.change("run-1", rule)
    assert (len(times), written.run.version) == (2, 2)
    assert await driver.row("run-1") == written.run


async def test_a_session_that_breaks_repeatedly_is_an_error(driver, sql):
    before = await driver.create("run-1")

    def rule(to):
        sql(KILL)
        return rewrite(to)

    commands = [driver.change("run-1", rule), driver.create("run-2")]
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert [(caught.code, caught.retry_after_s) for caught in outcomes] == [("STORE_UNAVAILABLE", 1)] * 2
    assert await driver.rows() == [before]
    assert (await driver.change("run-1", rewrite)).run.version == 2


@pytest.fixture(params=[0, 3600], ids=["plain", "chained"])
def break_at_commit(request, monkeypatch):
    """break_at_commit(really): the next commit's session breaks; before that it commits, or not."""
    monkeypatch.setattr(session_limits, "chain_s", request.param)
    monkeypatch.setattr(session_limits, "chain_idle_s", 3600)
    execute = asyncpg.Connection.execute
    commit = "COMMIT AND CHAIN" if request.param else "COMMIT"
    armed = []

    async def broken(self, query, *arguments, **options):
        if query == commit and armed:
            if armed.pop():
                await execute(self, query)
            self.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", broken)
    return armed.append


async def test_a_commit_that_went_through_unheard_is_found_out(driver, break_at_commit):
    await driver.create("run-1")
    break_at_commit(True)
    times = []
    written = await driver.change("run-1", lambda to: times.append(1) or rewrite(to))
    assert (len(times), written.run.version) == (1, 2)
    assert await driver.row("run-1") == written.run


async def test_a_commit_that_never_arrived_is_found_out_and_done_again(driver, break_at_commit):
    await driver.create("run-1")
    break_at_commit(False)
    times = []
    written = await driver.change("run-1", lambda to: times.append(1) or rewrite(to))
    assert (len(times), written.run.version) == (2, 2)
    assert await driver.row("run-1") == written.run


async def test_of_many_commits_in_a_row_the_one_that_broke_is_asked_after(driver, break_at_commit):
    await driver.create("run-1")
    for turn in range(6):
        break_at_commit(turn % 2 == 0)
        assert (await driver.change("run-1", rewrite)).run.version == 2 + 2 * turn
        assert (await driver.change("run-1", rewrite)).run.version == 3 + 2 * turn
    assert (await driver.row("run-1")).version == 13


async def test_a_commit_with_unknown_outcome_is_reported_as_such(monkeypatch, open_driver, own_server):
    monkeypatch.setattr("runstead.engines.postgres.session_limits.in_doubt_s", 0.2)
    driver = await open_driver(own_server.url())
    await driver.create("run-1")
    execute = asyncpg.Connection.execute

    async def broken(self, query, *arguments, **options):
        if query.startswith("COMMIT"):
            own_server.stop()
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", broken)
    with pytest.raises(Error, match="look whether it was stored") as caught:
        await driver.change("run-1", rewrite)
    assert (caught.value.code, caught.value.retry_after_s) == ("STORE_UNAVAILABLE", 1)
    monkeypatch.undo()
    own_server.start()
    assert (await driver.row("run-1")).version == 1


async def test_while_the_server_is_away_requests_get_503_and_afterwards_all_is_well(open_driver, own_server):
    driver = await open_driver(own_server.url())
    await driver.create("run-1")
    http_app = HttpApp(App(driver.store, LocalNotifier()), Authenticator(driver.store, None))
    transport = httpx2.ASGITransport(http_app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://runstead.test") as client:
        key = {"X-API-Key": "vf_aaaa_bbbb"}
        assert (await client.get("/readyz")).status_code == 200
        own_server.stop()
        for path, headers in (("/readyz", {}), ("/runs", key)):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["code"] == "STORE_UNAVAILABLE"
        commands = [driver.create("run-2"), driver.claim(), driver.enforce_deadlines(), driver.row("run-1")]
        outcomes = await asyncio.gather(*commands, return_exceptions=True)
        assert [outcome.code for outcome in outcomes] == ["STORE_UNAVAILABLE"] * 4
        own_server.start()
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/runs", headers=key)).status_code == 401
    assert [run.run_id for run in await driver.rows()] == ["run-1"]
    assert await driver.claim_ids() == ["run-1"]


async def test_a_server_that_restarts_is_hardly_noticed(open_driver, own_server):
    driver = await open_driver(own_server.url())
    await driver.create("run-1")
    await driver.row("run-1")
    own_server.stop("fast")
    own_server.start()
    assert (await driver.change("run-1", rewrite)).run.version == 2
    assert (await driver.row("run-1")).version == 2


async def test_a_database_that_cannot_be_used_is_one_sentence(databases):
    with pytest.raises(
        RuntimeError, match=r'cannot use the database /tmp/.*/nowhere: database "nowhere" does not exist'
    ):
        await PostgresStore(databases.server.url("nowhere")).open()
    with pytest.raises(RuntimeError, match=r"cannot use the database 127\.0\.0\.1:1/x: ") as caught:
        await PostgresStore("postgresql://ada:secret@127.0.0.1:1/x").open()
    assert "secret" not in str(caught.value)
