"""A server with runs and artifacts, whose store is backed up while it runs."""

import asyncio
from types import SimpleNamespace

import pytest

from runstead.sdk import Client
from runstead.server import backup
from tests.support.server import Server, note


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    server = Server(
        folder,
        folder / "runstead.db",
        limits={"artifact_gc_tick_s": 0.05},
        RUNSTEAD_ALLOW_PRIVATE_EGRESS="true",
    ).start()
    with server.api() as api, Client(server.url, server.key, project="default") as client:
        project_id = api.project_id()
        for number in range(3):
            run = api.create(project_id, public_id=f"run-{number}")
            api.append(run["run_id"], [note(1), note(2)])
        client.artifacts.store("run-0", "a.csv", b"a,b")
        client.artifacts.store("run-1", "same.csv", b"a,b")
        client.artifacts.store("run-1", "empty.txt", b"")
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with Client(server.url, server.key, project="default") as client:
        yield client


@pytest.fixture
def tool(server, tmp_path, monkeypatch):
    """The three commands on the server's store, as functions of a place."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")

    def save(place, database=f"sqlite:///{server.database}", advance=lambda *_: None, **options):
        return asyncio.run(backup.backup(database, str(place), advance, **options))

    def restore(place, database=tmp_path / "other-machine" / "runstead.db", **options):
        notes = []
        if not isinstance(database, str):
            database.parent.mkdir(exist_ok=True)
            database = f"sqlite:///{database}"
        done = asyncio.run(backup.restore(str(place), database, lambda *_: None, notes.append, **options))
        return SimpleNamespace(**done._asdict(), notes=notes, url=database)

    def verify(place, name=None):
        faults = []
        asyncio.run(backup.verify(str(place), name, lambda *_: None, faults.append))
        return faults

    return SimpleNamespace(save=save, restore=restore, verify=verify)
