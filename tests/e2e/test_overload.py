"""More writes than the store can accept: some are refused at once, none waits without end, and none is lost."""

import asyncio
import io
import sqlite3
import sys
from contextlib import asynccontextmanager, closing

import httpx2
import pytest

from runstead.core import limits
from runstead.engines.sqlite import store as sqlite_store
from runstead.engines.sqlite.writer import Writer
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

    async def create(self, name):
        body = {"kind": "task", "public_id": name, "owner": self._owner, "request": {"target": "task:load"}}
        return name, await self.http.post("/runs", json=body)

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
    patient, served, monkeypatch
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
    impatient, served, monkeypatch
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


async def test_while_another_process_holds_the_lock_reads_are_answered_and_writes_wait(patient, served):
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
