"""`runstead db …`: on stores of its own, and on one that a server has open."""

import json
import sqlite3
from contextlib import closing

import pytest

from .server import Server, note, runstead


def answer(done):
    code, stdout, stderr = done
    assert (code, stderr) == (0, ""), done
    return json.loads(stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With a few runs, of which some have ended."""
    directory = tmp_path_factory.mktemp("db")
    server = Server(directory, directory / "runstead.db").start()
    with server.api() as api:
        project_id = api.project_id()
        for n in range(5):
            run = api.create(project_id, public_id=f"run-{n}", parent="run-0" if n == 1 else None)
            api.append(run["run_id"], [note(1), note(2)])
            if n > 2:
                api.complete(run["run_id"])
    yield server
    server.kill()


@pytest.fixture
def command(tmp_path):
    def run(*words, database, **options):
        return runstead("db", *words, "--database", f"sqlite:///{database}", cwd=tmp_path, **options)

    return run


def copied(server, path):
    """The server's store as it stands, as a file of its own."""
    with closing(sqlite3.connect(server.database)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    return path


def test_migrate_says_what_it_applied_and_then_that_nothing_is_left(command, tmp_path):
    code, stdout, _ = command("migrate", database=tmp_path / "new.db")
    assert code == 0
    assert stdout.startswith("applied 0001_the_spine\n")
    assert command("migrate", database=tmp_path / "new.db") == (0, "up to date\n", "")
    assert answer(command("migrate", "--json", database=tmp_path / "new.db")) == {"applied": []}


def test_check_finds_a_store_sound_that_a_server_has_open(command, server):
    assert command("check", database=server.database) == (0, "5 runs, no violation\n", "")
    assert answer(command("check", "--json", database=server.database)) == {"runs": 5, "violations": []}


def test_check_tells_of_damage_in_a_sentence_and_exits_with_1(command, server, tmp_path):
    path = copied(server, tmp_path / "damaged.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "DELETE FROM run_events WHERE id = ((SELECT seq FROM runs WHERE run_id = 'run-3') << 24) + 2"
        )
    code, stdout, stderr = command("check", database=path)
    assert (code, stderr) == (1, "")
    assert "Run run-3 should hold the events 1 to 3, and holds 2 event(s)" in stdout
    code, stdout, _ = command("check", "--json", database=path)
    told = json.loads(stdout)["violations"]
    assert code == 1
    assert {(one["rule"], one["run_id"]) for one in told} == {
        ("events_are_gapless", "run-3"),
        ("external_sequence_counts_external_events", "run-3"),
    }


def test_check_makes_and_migrates_nothing(command, tmp_path):
    code, _, stderr = command("check", database=tmp_path / "none.db")
    assert (code, "there is no database" in stderr) == (1, True)
    assert not (tmp_path / "none.db").exists()
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
    code, _, stderr = command("check", database=tmp_path / "empty.db")
    assert (code, "run `runstead db migrate`" in stderr) == (1, True)
