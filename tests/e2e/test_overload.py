"""More writes than the store can accept: some are refused at once, none waits without end, and none is lost."""

import asyncio
import io
import sqlite3
import sys
import time
from contextlib import asynccontextmanager, closing

import httpx2
import pytest

from runstead.core import limits
from runstead.engines.sqlite import store as sqlite_store
from runstead.server.main import Main
from runstead.server.settings import Settings
from tests.support.server import KEY

from .integrity import check_whole


@pytest.fixture
def impatient(monkeypatch):
    """Shorten the time that the store waits for a lock. Return it in seconds."""
    seconds = 0.5
    connect = sqlite_store.connect

    def impatiently(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
        return connection

    monkeypatch.setattr(sqlite_store, "connect", impatiently)
    return seconds


@pytest.fixture
async def served(tmp_path):
    """The program as an object in this process, so that tests can lower its limits."""
    path = tmp_path / "runstead.db"
    main = Main(Settings(port=0, database_url=f"sqlite:///{path}", bootstrap_key=KEY), out=io.StringIO())
    serving = asyncio.ensure_future(main.run())
    async with asyncio.timeout(10):
        await main.ready.wait()
    limits_of_client = httpx2.Limits(max_connections=None)
    headers = {"X-API-Key": KEY}
    async with httpx2.AsyncClient(
        base_url=main.url, headers=headers, timeout=30, limits=limits_of_client
    ) as http:
        project_id = (await http.get("/projects/default")).json()["id"]
        yield Calls(http, project_id, path)
    main.stop()
    async with asyncio.timeout(15):
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
    served, monkeypatch
):
    monkeypatch.setattr(limits, "writer_queue_max", 8)
    async with store_locked(served.path):
        calls = [asyncio.ensure_future(served.create(f"run-{number}")) for number in range(60)]
        async with asyncio.timeout(4):
            while sum(call.done() for call in calls) < 52:
                await asyncio.wait(
                    [call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED
                )
        for _, answer in [await call for call in calls if call.done()]:
            refused(answer, "STORE_BUSY")
    answers = dict(await asyncio.gather(*calls))
    accepted = {name for name, answer in answers.items() if answer.status_code == 202}
    assert len(accepted) == 8
    assert await served.stored() == accepted
    _, again = await served.create("run-after")
    assert again.status_code == 202


def refused(answer, code):
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1


async def test_while_another_process_locks_the_file_each_write_waits_for_one_lock_at_most(impatient, served):
    """Several groups of writes are queued. They must not wait for the lock one after another."""
    async with store_locked(served.path):
        began = time.perf_counter()
        answers = await asyncio.gather(*(served.create(f"run-{number}") for number in range(150)))
        took = time.perf_counter() - began
    for _, answer in answers:
        refused(answer, "STORE_UNAVAILABLE")
    assert took < 5 * impatient
    assert await served.stored() == set()
    _, after = await served.create("run-after")
    assert after.status_code == 202


#: A program that holds the write lock, as an operator's shell or a backup does.
HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(3)
connection.execute("ROLLBACK")
"""


async def test_while_another_process_holds_the_lock_for_3_s_reads_are_answered_and_writes_wait(served):
    await served.create("first")
    answers, enough = [], asyncio.Event()

    async def load(caller):
        number = 0
        while not enough.is_set():
            answers.append(await served.create(f"load-{caller}-{number}"))
            number += 1

    loads = [asyncio.ensure_future(load(caller)) for caller in range(8)]
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(served.path), stdout=asyncio.subprocess.PIPE
    )
    assert await holder.stdout.readline() == b"held\n"
    held = asyncio.ensure_future(holder.wait())
    looks = []
    while not held.done():
        began = time.perf_counter()
        for path in ("/healthz", "/runs/first"):
            assert (await served.http.get(path)).status_code == 200
        looks.append(time.perf_counter() - began)
    assert await held == 0
    assert len(looks) > 50
    assert max(looks) < 1, sorted(looks)[-5:]
    during = len(answers)
    answers += [await served.create(f"after-{number}") for number in range(20)]
    enough.set()
    await asyncio.gather(*loads)
    assert len(answers) >= during + 20 + len(loads)
    assert {answer.status_code for _, answer in answers} == {202}
    assert await served.stored() == {"first", *(name for name, _ in answers)}


async def test_many_callers_at_once_are_all_answered_and_what_was_accepted_is_stored(served, monkeypatch):
    monkeypatch.setattr(limits, "writer_queue_max", 16)
    began = time.perf_counter()
    answers = []
    for wave in range(3):
        answers += await asyncio.gather(*(served.create(f"wave-{wave}-{number}") for number in range(200)))
    assert time.perf_counter() - began < 20
    statuses = {answer.status_code for _, answer in answers}
    assert statuses <= {202, 503}
    assert await served.stored() == {name for name, answer in answers if answer.status_code == 202}
