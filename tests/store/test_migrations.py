"""A store that an older Runstead made is brought up to date with all that it holds."""

import sqlite3
from contextlib import closing
from importlib.resources import files

import msgspec
import pytest

from runstead.core.runs.run import FIELDS, RunStatus
from runstead.core.usage.rollup import Facts
from runstead.engines.sql.sql_files import migrations

PROJECT = "11111111-1111-4111-8111-111111111111"
FIRST = "0001_the_spine"
NUMBERS = (
    "descendants_total",
    "descendants_active",
    "attempt",
    "attempts_lost",
    "latest_event_id",
    "latest_external_event_sequence",
)


@pytest.fixture
def old(tmp_path):
    """A file as the first schema made it, and a function that puts rows into it."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
        connection.executescript((files("runstead.engines.sqlite") / f"migrations/{FIRST}.sql").read_text())
        connection.execute("INSERT INTO schema_migrations VALUES (?, 1)", (FIRST,))
        connection.commit()
    return path


def put_run(connection, seq, root=None, **values):
    row = dict.fromkeys(NUMBERS, 0) | {"version": 1, "created_at": 1, "updated_at": 1, "path": "/"}
    row |= {
        "uid": f"u{seq}",
        "project_id": PROJECT,
        "run_id": f"run-{seq}",
        "kind": "task",
        "status": "running",
    }
    row |= {"owner_kind": "project", "owner_id": PROJECT, "root_run_id": f"run-{root or seq}", "seq": seq}
    if root is not None:
        row |= {"parent_seq": root, "root_seq": root, "parent_run_id": f"run-{root}", "path": f"/{root}/"}
    row |= values
    names = ", ".join(row)
    connection.execute(
        f"INSERT INTO runs ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
    )


def put_events(connection, *events):
    """(run, event_id, time) each."""
    rows = [((seq << 24) + number, "A", b'{"type":"A"}', at, 1, number) for seq, number, at in events]
    connection.executemany("INSERT INTO run_events VALUES (?, ?, ?, ?, ?, ?)", rows)


async def test_runs_of_the_first_schema_are_read_and_changed(old, driver_at):
    with closing(sqlite3.connect(old)) as connection, connection:
        put_run(connection, 1, title="Old", input=b"[1]", status="pending", available_at=5)
    driver = await driver_at(old)
    run = await driver.row("run-1")
    assert (run.title, run.input, run.paused_available_at) == ("Old", b"[1]", None)
    assert len(FIELDS) == len(set(FIELDS))
    assert (await driver.pause("run-1")).run.paused_available_at == 5


async def test_the_events_of_an_old_family_are_ordered_by_time(old, event, driver_at):
    with closing(sqlite3.connect(old)) as connection, connection:
        put_run(connection, 1, descendants_total=2, descendants_active=2, latest_event_id=3)
        put_run(connection, 2, 1, latest_event_id=2)
        put_run(connection, 3, 1, latest_event_id=1)
        put_run(connection, 4, latest_event_id=2)
        # The clock of run 2 went back between its two events
        put_events(connection, (1, 1, 10), (1, 2, 10), (1, 3, 40), (2, 1, 30), (2, 2, 20), (3, 1, 20))
        put_events(connection, (4, 1, 10), (4, 2, 20))
    driver = await driver_at(old)
    expected = [("run-1", 1), ("run-1", 2), ("run-3", 1), ("run-2", 1), ("run-2", 2), ("run-1", 3)]
    for step in (1, 2, 100):
        found, end = await driver.family("run-1", step=step)
        assert [one[:2] for one in found] == expected
        assert ([one[2] for one in found], end) == ([1, 2, 3, 4, 5, 6], 6)
    await driver.append("run-2", event())
    await driver.append("run-1", event())
    assert await driver.family("run-1", 6) == ([("run-2", 3, 7), ("run-1", 4, 8)], 8)
    assert await driver.family("run-4") == ([("run-4", 1, 1), ("run-4", 2, 2)], 2)
    await driver.create("child", parent="run-4")
    await driver.append("child", event())
    assert await driver.family("run-4", 1) == ([("run-4", 2, 2), ("child", 1, 3)], 3)


async def test_a_store_is_migrated_once(old, driver_at):
    for _ in range(2):
        await (await driver_at(old)).store.close()
    with closing(sqlite3.connect(old)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM schema_migrations ORDER BY name")]
    assert names[0] == FIRST
    assert "0004_events_and_names" in names


async def test_what_was_not_summed_up_before_entries_had_an_order_is_summed_up_after(tmp_path, driver_at):
    path = tmp_path / "twenty.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
        for name, statements in migrations("runstead.engines.sqlite").items():
            if name < "0021":
                connection.executescript(statements)
                connection.execute("INSERT INTO schema_migrations VALUES (?, 1)", (name,))
        for seq in (1, 2):
            ended = {"status": "completed", "completed_at": 5, "duration_ms": 4, "root_seq": seq}
            put_run(connection, seq, **ended)
            facts = Facts(1, "task", RunStatus.COMPLETED, 4, None, None, None, f"run-{seq}")
            entry = (seq, 1, "ended", PROJECT, msgspec.msgpack.encode(facts))
            connection.execute("INSERT INTO rollup_entries VALUES (?, ?, ?, ?, ?)", entry)
        connection.commit()
    store = (await driver_at(path)).store
    assert await store.rollups.integrity() == []
    assert [await store.rollups.add_entries(10) for _ in range(2)] == [2, 0]
    assert await store.rollups.integrity() == []
