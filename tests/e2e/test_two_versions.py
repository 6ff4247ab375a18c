"""A rolling upgrade: the previous version and this one are replicas on one schema, and no work is lost or refused."""

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import uuid
import zipfile
from collections import Counter
from pathlib import Path

import asyncpg
import httpx2
import pytest

from runstead.engines.postgres.migrate import with_short_locks
from tests.support.server import Api, Server, note, runstead
from tests.support.until import until

pytestmark = pytest.mark.long  # it needs the history of the repository, and half a minute

ROOT = Path(__file__).parents[2]
#: Stands for the previous release until there is one.
BEFORE_THE_FIRST_RELEASE = "dd00cdaaa0d6ccbc8d276b57e01a3456f7e61056"
RUNS = 60  # in each phase


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


@pytest.fixture(scope="module")
def previous(tmp_path_factory):
    """The folder of the unpacked wheel of the previous release."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    tags = git("tag", "--list", "v*", "--no-contains", "HEAD", "--sort=-v:refname").stdout.decode().split()
    commit = tags[0] if tags else BEFORE_THE_FIRST_RELEASE
    if git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        pytest.skip(f"the history of the repository lacks {commit}")
    folder = tmp_path_factory.mktemp("previous")
    (folder / "tree.tar").write_bytes(git("archive", commit).stdout)
    with tarfile.open(folder / "tree.tar") as tree:
        tree.extractall(folder / "tree", filter="data")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=folder / "tree", check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture
def url(databases):
    """A database without a schema."""
    name = f"versions_{uuid.uuid4().hex}"

    async def execute(statement):
        connection = await asyncpg.connect(databases.server.url())
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    yield databases.server.url(name)
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def replica(tmp_path, url):
    """replica(name, version): a server that is not started. `version` is the folder of a program; None for this one."""
    made = []

    def make(name, version=None):
        (tmp_path / name).mkdir()
        path = {} if version is None else {"PYTHONPATH": str(version)}
        made.append(Server(tmp_path / name, url, **path))
        return made[-1]

    yield make
    for server in made:
        server.kill()


async def expand(url):
    """Add a column to the tables of every run."""
    connection = await asyncpg.connect(url)
    for table in ("runs", "run_events", "run_attempts", "seals"):
        statement = f"ALTER TABLE {table} ADD COLUMN of_a_test bigint NOT NULL DEFAULT 0"
        await with_short_locks(connection, table, lambda statement=statement: connection.execute(statement))
    await connection.close()


class Load:
    """Clients that create runs, and workers that execute them, each over all replicas of `urls`.

    A request goes to the next replica with the same Idempotency-Key if one is stopping, as behind a load balancer.
    """

    def __init__(self, servers):
        self.servers = servers
        self.created, self.completed = [], []
        self.served, self.moved = Counter(), Counter()  # responses of each URL; reasons to go to the next
        self.refused = []
        self._stop, self._drained = threading.Event(), threading.Event()
        roles = [self._create] * 2 + [self._work] * 3
        self._threads = [
            threading.Thread(target=role, args=(number,), daemon=True) for number, role in enumerate(roles)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, apis, path, body):
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            server = self.servers[int.from_bytes(os.urandom(2)) % len(self.servers)]
            api = apis.setdefault(server.url, Api(server.url, server.key))
            try:
                response = api.http.post(path, json=body, headers=headers)
            except httpx2.TransportError as error:
                self.moved[type(error).__name__] += 1
                time.sleep(0.01)
                continue
            if response.status_code == 503:
                self.moved[response.json()["code"]] += 1
                continue
            if response.status_code >= 300:
                self.refused.append((path, response.status_code, response.text))
                return None
            self.served[server.url] += 1
            return response.json()

    def _create(self, number):
        apis = {}
        api = Api(self.servers[0].url, self.servers[0].key)
        body = {"kind": "task", "owner": {"kind": "project", "id": api.project_id()}}
        while not self._stop.is_set():
            sent = body | {
                "public_id": f"run-{number}-{uuid.uuid4().hex}",
                "request": {"target": "task:e2e", "input": [1]},
            }
            if (answer := self._send(apis, "/runs", sent)) is not None:
                self.created.append(answer["run"]["run_id"])

    def _work(self, number):
        apis = {}
        api = Api(self.servers[0].url, self.servers[0].key)
        worker = api.register(f"worker-{number}")
        claim = {"lease_duration_seconds": 120, "targets": ["task:e2e"], "wait_seconds": 0}
        while not self._drained.is_set():
            answer = self._send(apis, f"/agent-workers/workers/{worker}/claim", claim)
            if answer is None or answer["run"] is None:
                if self._stop.is_set() and len(self.completed) >= len(self.created):
                    return
                time.sleep(0.01)
                continue
            run_id = answer["run"]["run_id"]
            self._send(apis, f"/runs/{run_id}/events", {"events": [note(1), note(2)]})
            body = {"status": "completed", "output": number}
            if self._send(apis, f"/runs/{run_id}/complete", body) is not None:
                self.completed.append(run_id)

    def more(self, *servers):
        """Wait until every one of the servers has served, and more runs are completed."""
        served, done = {one.url: self.served[one.url] for one in servers}, len(self.completed)
        until(
            lambda: (
                len(self.completed) >= done + RUNS
                and all(self.served[address] >= before + RUNS for address, before in served.items())
            ),
            "more runs",
        )

    def finish(self):
        self._stop.set()
        until(lambda: self.refused or len(self.completed) >= len(self.created), "the rest of the runs")
        self._drained.set()
        for thread in self._threads:
            thread.join(60)


def test_the_previous_version_and_this_one_are_replicas_under_load_and_nothing_is_lost_or_refused(
    previous, replica, url, tmp_path
):
    first, second = replica("old-1", previous).start(), replica("old-2", previous).start()
    load = Load([first, second])
    load.more(first, second)

    code, stdout, _ = runstead("db", "migrate", "--check", "--database", url, cwd=tmp_path)
    assert code in (0, 6), stdout  # safe while the previous version runs
    new = replica("new-1").start()
    load.servers = [new, second]
    first.terminate()
    asyncio.run(expand(url))  # as a migration may: statements of both versions are prepared already
    load.more(new, second)
    assert runstead("db", "migrate", "--check", "--database", url, cwd=tmp_path)[0] == 0

    if code == 6:  # an old replica that starts now is refused, and the others continue
        serve = ("serve", "--port", "0", "--database", url)
        refused, _, stderr = runstead(*serve, cwd=tmp_path, PYTHONPATH=str(previous))
        assert (refused, "written by a newer Runstead" in stderr) == (1, True), stderr
    last = replica("new-2").start()
    load.servers = [new, last]
    second.terminate()
    load.more(new, last)
    load.finish()

    assert load.refused == []
    assert len(load.completed) == len(set(load.completed))
    assert set(load.completed) == set(load.created)
    code, stdout, stderr = runstead("db", "check", "--database", url, cwd=tmp_path)
    assert (code, stderr) == (0, ""), stdout
    assert stdout.startswith(f"{len(load.created):,} runs, no violation")
