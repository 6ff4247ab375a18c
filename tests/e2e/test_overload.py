"""More writes than the store can accept: some are refused at once, none waits without end, and none is lost."""

import asyncio
import io
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from functools import partial

import httpx2
import pytest

from runstead.core import limits
from runstead.core.admission import LoopLag
from runstead.engines.sqlite import store as sqlite_store
from runstead.engines.sqlite.store import SqliteStore
from runstead.engines.sqlite.writer import Writer
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.admission import Admission
from runstead.server.main import Main
from runstead.server.settings import Settings
from tests.support.server import KEY

from .integrity import check_whole


@pytest.fixture
def waits_for_locks(monkeypatch):
    """waits_for_locks(seconds): how long the store waits for a lock. Request it before `served`."""

    def wait(seconds):
        connect = sqlite_store.connect

        def patched(*arguments, **options):
            connection = connect(*arguments, **options)
            connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            return connection

        monkeypatch.setattr(sqlite_store, "connect", patched)

    return wait


@pytest.fixture
def impatient(waits_for_locks):
    waits_for_locks(0.5)


@pytest.fixture
def patient(waits_for_locks):
    waits_for_locks(600)


@pytest.fixture
def admits_all(monkeypatch):
    """New work is not refused. The clients of these tests share the event loop with the server."""
    monkeypatch.setattr(Admission, "early", lambda *_, **__: None)
    monkeypatch.setattr(Admission, "check", lambda *_: None)


@pytest.fixture
async def served(tmp_path):
    """The program as an object in this process, so that tests can lower its limits."""
    path = tmp_path / "runstead.db"
    main = Main(Settings(port=0, database_url=f"sqlite:///{path}", bootstrap_key=KEY), out=io.StringIO())
    serving = asyncio.ensure_future(main.run())
    async with asyncio.timeout(30):
        await main.ready.wait()
    limits_of_client = httpx2.Limits(max_connections=None)
    headers = {"X-API-Key": KEY}
    async with httpx2.AsyncClient(
        base_url=main.url, headers=headers, timeout=30, limits=limits_of_client
    ) as http:
        project_id = (await http.get("/projects/default")).json()["id"]
        yield Calls(http, project_id, path)
    main.stop()
    async with asyncio.timeout(30):
        await serving


class Calls:
    def __init__(self, http, project_id, path):
        self.http, self.path = http, path
        self._owner = {"kind": "project", "id": project_id}

    def body(self, name):
        return {"kind": "task", "public_id": name, "owner": self._owner, "request": {"target": "task:load"}}

    async def create(self, name):
        return name, await self.http.post("/runs", json=self.body(name))

    async def stored(self):
        return set(await asyncio.to_thread(check_whole, self.path))


@asynccontextmanager
async def store_locked(path):
    """Lock the file during the block, as another process does: an operator's shell, a backup."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_above_the_queues_limit_a_write_is_refused_at_once_and_the_others_are_stored(
    patient, admits_all, served, monkeypatch
):
    monkeypatch.setattr(limits, "writer_queue_max", 8)
    async with store_locked(served.path):
        calls = [asyncio.ensure_future(served.create(f"run-{number}")) for number in range(60)]
        async with asyncio.timeout(60):
            while sum(call.done() for call in calls) < 52:
                await asyncio.wait(
                    [call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED
                )
        for _, answer in [await call for call in calls if call.done()]:
            refused(answer, "STORE_BUSY")
    answers = dict(await asyncio.gather(*calls))
    accepted = {name for name, answer in answers.items() if answer.status_code == 202}
    assert 6 <= len(accepted) <= 8  # writes of the server's own loops may have taken a place
    assert await served.stored() == accepted
    _, again = await served.create("run-after")
    assert again.status_code == 202


def refused(answer, code):
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1


async def test_while_another_process_locks_the_file_each_write_waits_for_one_lock_at_most(
    impatient, admits_all, served, monkeypatch
):
    """Several groups of writes are queued. They must not wait for the lock one after another."""
    waits, waited, begin, do = [], [], Writer._begin, Writer.do

    def noting_begin(writer):
        waits.append(writer)
        return begin(writer)

    async def noting_do(writer, *arguments, **options):
        before = len(waits)
        try:
            return await do(writer, *arguments, **options)
        finally:
            waited.append(len(waits) - before)

    monkeypatch.setattr(Writer, "_begin", noting_begin)
    monkeypatch.setattr(Writer, "do", noting_do)
    async with store_locked(served.path):
        answers = await asyncio.gather(*(served.create(f"run-{number}") for number in range(150)))
    for _, answer in answers:
        refused(answer, "STORE_UNAVAILABLE")
    assert len(waited) >= 150
    assert max(waited) <= 2  # the second, where the next wait began before the first was reported
    assert await served.stored() == set()
    _, after = await served.create("run-after")
    assert after.status_code == 202


#: A program that holds the write lock, as an operator's shell or a backup does.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


async def test_while_another_process_holds_the_lock_reads_are_answered_and_writes_wait(
    patient, admits_all, served
):
    await served.create("first")
    answers, enough = [], asyncio.Event()

    async def load(caller):
        number = 0
        while not enough.is_set():
            answers.append(await served.create(f"load-{caller}-{number}"))
            number += 1

    loads = [asyncio.ensure_future(load(caller)) for caller in range(8)]
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(served.path), stdin=-1, stdout=-1
    )
    assert await holder.stdout.readline() == b"held\n"
    for _ in range(50):
        for path in ("/healthz", "/runs/first"):
            assert (await served.http.get(path)).status_code == 200
    during = len(answers)
    holder.stdin.close()
    assert await holder.wait() == 0
    answers += [await served.create(f"after-{number}") for number in range(20)]
    enough.set()
    await asyncio.gather(*loads)
    assert len(answers) >= during + 20 + len(loads)
    assert {answer.status_code for _, answer in answers} == {202}
    assert await served.stored() == {"first", *(name for name, _ in answers)}


async def test_many_callers_at_once_are_all_answered_and_what_was_accepted_is_stored(served, monkeypatch):
    monkeypatch.setattr(limits, "writer_queue_max", 16)
    answers = []
    for wave in range(3):
        answers += await asyncio.gather(*(served.create(f"wave-{wave}-{number}") for number in range(200)))
    statuses = {answer.status_code for _, answer in answers}
    assert statuses <= {202, 503}
    assert await served.stored() == {name for name, answer in answers if answer.status_code == 202}


async def test_while_writes_wait_too_long_new_runs_are_refused_and_accepted_ones_go_on(served, monkeypatch):
    """The refusals of one credential are remembered, and the next ones come before authentication."""
    await served.create("accepted")
    authenticated, authenticate = [], Authenticator.authenticate

    async def recording(self, credential, address=None):
        authenticated.append(credential)
        return await authenticate(self, credential, address)

    monkeypatch.setattr(Authenticator, "authenticate", recording)
    monkeypatch.setattr(SqliteStore, "expected_wait_s", lambda _store: 1.0)
    monkeypatch.setattr(limits, "admission_memory_s", 600)
    for number in range(5):
        _, answer = await served.create(f"new-{number}")
        refused(answer, "STORE_BUSY")
        assert 1 <= int(answer.headers["retry-after"]) <= limits.admission_retry_s_max
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["instance"] == "/runs"
    assert len(authenticated) == 1
    large = await served.http.post("/runs", json={"kind": "task", "request": {"config": "x" * 100_000}})
    refused(large, "STORE_BUSY")  # over ASGI
    for path in ("/runs/accepted", "/projects/default/runs", "/runs/accepted/events"):
        assert (await served.http.get(path)).status_code == 200
    events = [{"type": "CUSTOM", "name": "n", "value": 1}]
    assert (await served.http.post("/runs/accepted/events", json={"events": events})).status_code == 200
    done = await served.http.post("/runs/accepted/complete", json={"status": "completed"})
    assert done.status_code == 200
    async with served.http.stream("GET", "/runs/accepted/stream") as stream:
        assert stream.status_code == 200
    monkeypatch.undo()
    assert await served.stored() == {"accepted"}


async def test_a_late_event_loop_refuses_new_runs_first_and_then_lists(served, monkeypatch):
    await served.create("accepted")

    def late(seconds):
        monkeypatch.setattr(LoopLag, "measured", lambda lag, _late_s, _busy: setattr(lag, "seconds", seconds))

    async def until(request, status):
        async with asyncio.timeout(60):
            while (await request()).status_code != status:
                pass

    late(limits.admission_lists_lag_s_max * 2)
    lists = partial(served.http.get, "/projects/default/runs")
    await until(lists, 503)
    refused((await served.create("new"))[1], "STORE_BUSY")
    assert (await served.http.head("/projects/default/runs")).status_code == 503
    for path in ("/runs/accepted", "/runs/accepted/events", "/healthz", "/readyz"):
        assert (await served.http.get(path)).status_code == 200
    late((limits.admission_lag_s_max + limits.admission_lists_lag_s_max) / 2)
    await until(lists, 200)
    refused((await served.create("new"))[1], "STORE_BUSY")
    late(0.0)
    await until(partial(served.http.post, "/runs", json=served.body("new")), 202)
