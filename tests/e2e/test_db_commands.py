"""`runstead db …`, on its own stores and on one that a server has open."""

import json
import sqlite3
import subprocess
from contextlib import closing, suppress

import pytest

from runstead.cli import db
from runstead.ports.store import Stats, TableSize
from runstead.sdk import Client
from runstead.server import administration
from tests.support.server import PROGRAM, Server, environment, note, runstead
from tests.support.until import until


def answer(done):
    code, stdout, stderr = done
    assert (code, stderr) == (0, ""), done
    return json.loads(stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a few runs, some of them ended."""
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
    """Copy the server's store to another file."""
    with closing(sqlite3.connect(server.database)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    path.chmod(0o600)
    return path


def test_migrate_reports_what_it_applied_and_then_up_to_date(command, tmp_path):
    code, stdout, _ = command("migrate", database=tmp_path / "new.db")
    assert code == 0
    assert stdout.startswith("applied 0001_the_spine\n")
    assert command("migrate", database=tmp_path / "new.db") == (0, "up to date\n", "")
    assert answer(command("migrate", "--json", database=tmp_path / "new.db")) == {"applied": []}


def test_check_finds_no_violation_in_a_store_that_a_server_has_open(command, server):
    assert command("check", database=server.database) == (0, "5 runs, no violation\n", "")
    assert answer(command("check", "--json", database=server.database)) == {
        "runs": 5,
        "violations": [],
        "secrets": [],
    }


def test_check_reports_damage_in_a_sentence_and_exits_with_1(command, server, tmp_path):
    path = copied(server, tmp_path / "damaged.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "DELETE FROM run_events WHERE id = ((SELECT seq FROM runs WHERE run_id = 'run-3') << 24) + 2"
        )
    code, stdout, stderr = command("check", database=path)
    assert (code, stderr) == (1, "")
    assert "Run run-3 should have the events 1 to 3, but has 2 event(s)" in stdout
    code, stdout, _ = command("check", "--json", database=path)
    violations = json.loads(stdout)["violations"]
    assert code == 1
    assert {(one["rule"], one["run_id"]) for one in violations} == {
        ("events_are_gapless", "run-3"),
        ("external_sequence_counts_external_events", "run-3"),
    }


def test_check_creates_and_migrates_nothing(command, tmp_path):
    code, _, stderr = command("check", database=tmp_path / "none.db")
    assert (code, "there is no database" in stderr) == (1, True)
    assert not (tmp_path / "none.db").exists()
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
    code, _, stderr = command("check", database=tmp_path / "empty.db")
    assert (code, "run `runstead db migrate`" in stderr) == (1, True)


def test_copy_moves_a_store_and_compares_it(server, tmp_path, databases):
    source = copied(server, tmp_path / "source.db")
    name = databases.lease()
    target = databases.server.url(name)
    words = ("db", "copy", "--from", f"sqlite:///{source}", "--to", target)
    code, stdout, stderr = runstead(*words, cwd=tmp_path)
    assert (code, stderr) == (0, "")
    assert "           5  runs\n" in stdout
    assert "the copy is identical, row by row; 5 runs checked, 0 violation(s)" in stdout
    code, _, stderr = runstead(*words, cwd=tmp_path)
    assert (code, "the target is not empty" in stderr) == (1, True)
    back = ("db", "copy", "--from", target, "--to", f"sqlite:///{tmp_path / 'back.db'}", "--json")
    assert answer(runstead(*back, cwd=tmp_path))["copied"]["runs"] == 5
    moved = Server(tmp_path, target).start()
    with moved.api() as api:
        assert [event["event_id"] for event in api.events("run-3")] == [1, 2, 3]
        assert api.run("run-0")["descendants"] == {"total": 1, "active": 1}
    moved.terminate()
    databases.give_back(name)


def test_a_killed_copy_is_resumed(server, tmp_path):
    source, target = copied(server, tmp_path / "source.db"), tmp_path / "target.db"
    with closing(sqlite3.connect(source)) as connection, connection:  # a log that takes a while
        connection.execute(
            """WITH RECURSIVE more (n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM more WHERE n < 60000)
            INSERT INTO run_events SELECT ((SELECT seq FROM runs WHERE run_id = 'run-2') << 24) + n, 'CUSTOM',
            zeroblob(500), 1, 1, n FROM more"""
        )
        connection.execute(
            "UPDATE runs SET latest_event_id = 60000, latest_external_event_sequence = 60000 WHERE run_id = 'run-2'"
        )
    words = ("db", "copy", "--from", f"sqlite:///{source}", "--to", f"sqlite:///{target}")
    process = subprocess.Popen([*PROGRAM, *words], cwd=tmp_path, env=environment())

    def under_way():
        with closing(sqlite3.connect(target)) as connection, suppress(sqlite3.Error):
            return connection.execute(
                "SELECT length(mark) FROM copy_progress WHERE name = 'run_events'"
            ).fetchone()

    until(under_way, "the copy to be under way")
    process.kill()
    process.wait()
    _, _, stderr = runstead("db", "check", "--database", f"sqlite:///{target}", cwd=tmp_path)
    if "unfinished copy" not in stderr:
        pytest.skip("the copy was done before it could be killed")
    assert runstead(*words, cwd=tmp_path)[0] == 0
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM run_events").fetchone()[0] > 60_000


def test_copy_refuses_a_source_that_is_written_to(server, tmp_path):
    source = copied(server, tmp_path / "source.db")
    with closing(sqlite3.connect(source)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        words = ("db", "copy", "--from", f"sqlite:///{source}", "--to", f"sqlite:///{tmp_path / 'to.db'}")
        code, _, stderr = runstead(*words, cwd=tmp_path)
    assert (code, "stop the server first" in stderr) == (1, True)


def test_stats_show_the_size_of_a_store(command, server):
    stats = answer(command("stats", "--json", database=server.database))
    assert (stats["engine"], stats["runs"]) == ("sqlite", {"completed": 2, "pending": 3})
    [runs] = [table for table in stats["tables"] if table["name"] == "runs"]
    assert (runs["rows"], runs["part_of"]) == (5, None)
    code, stdout, _ = command("stats", database=server.database)
    assert code == 0
    for words in (
        "runs: 2 completed, 3 pending",
        "events per run: 2.4",
        "the oldest pending run was created at 20",
    ):
        assert words in stdout


@pytest.mark.parametrize("measured", [True, False])
def test_stats_have_a_column_of_sizes_only_if_they_are_known(monkeypatch, capsys, measured):
    tables = [TableSize("runs", 5, 2**20 if measured else None)]
    stats = Stats("sqlite", 4096, 0, tables, {"completed": 5}, None, None)

    monkeypatch.setattr(administration, "stats", lambda _: stats)
    monkeypatch.setattr(db, "run", lambda found: found)
    db.stats()
    head, row, *rest = capsys.readouterr().out.splitlines()
    assert (head.split(), row.split()) == (
        (["table", "rows", "MiB"], ["runs", "5", "1.0"]) if measured else (["table", "rows"], ["runs", "5"])
    )
    assert ("the sizes of tables are unknown" in rest[0]) != measured


def test_copy_carries_artifacts_or_refuses_with_their_number(server, tmp_path, databases):
    source, target = copied(server, tmp_path / "source.db"), tmp_path / "target.db"
    contents = {"a.csv": b"a,b", "empty.txt": b""}
    with_artifacts = Server(tmp_path, source).start()
    with Client(with_artifacts.url, with_artifacts.key) as client:
        for name, content in contents.items():
            client.artifacts.store("run-0", name, content)
    with_artifacts.terminate()

    name = databases.lease()
    to_postgres = ("db", "copy", "--from", f"sqlite:///{source}", "--to", databases.server.url(name))
    code, _, stderr = runstead(*to_postgres, cwd=tmp_path)
    assert (code, "the source has 2 artifact(s), and the target has no artifact store" in stderr) == (1, True)
    without = answer(runstead(*to_postgres, "--without-artifacts", "--json", cwd=tmp_path))
    assert (without["artifacts"], without["copied"]["runs"]) == (0, 5)
    databases.give_back(name)

    words = ("db", "copy", "--from", f"sqlite:///{source}", "--to", f"sqlite:///{target}", "--json")
    assert answer(runstead(*words, cwd=tmp_path))["artifacts"] == 2
    moved = Server(tmp_path, target).start()
    with Client(moved.url, moved.key) as client:
        assert {name: client.artifacts.read("run-0", name) for name in contents} == contents
    moved.terminate()
