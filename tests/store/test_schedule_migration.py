"""A store that was made before there were schedules has them once it is opened, and keeps what it held."""

import sqlite3
import uuid
from importlib.resources import files

from msgspec.structs import astuple

from runstead.run import Run, RunStatus
from runstead.schedule import Schedule
from runstead.sqlite.rows import insert_run
from runstead.sqlite.store import SqliteStore
from runstead.store import RunKey

FIRST = "0001_the_spine"
PROJECT = str(uuid.uuid4())


def old_store(path):
    """A file as the first version left it, with a project and a run in it."""
    sql = (files("runstead.sqlite") / "migrations" / f"{FIRST}.sql").read_text()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)")
    connection.executescript(sql)
    connection.execute("INSERT INTO schema_migrations VALUES (?, 1)", (FIRST,))
    connection.execute("INSERT INTO projects VALUES (?, 'old', 'Old', 1, NULL, NULL)", (PROJECT,))
    run = Run("u", PROJECT, "r", "task", RunStatus.PENDING, "project", PROJECT, "r", 1, 1, target="task:a")
    assert len(astuple(run)) == len(connection.execute("SELECT * FROM pragma_table_info('runs')").fetchall())
    insert_run(connection, run)
    connection.commit()
    connection.close()
    return run


async def test_a_store_of_the_first_version_keeps_its_runs_and_takes_schedules(tmp_path):
    path = tmp_path / "old.db"
    run = old_store(path)
    store = SqliteStore(path)
    await store.open()
    found = await store.runs.get(RunKey(PROJECT, "r"))
    assert (found.uid, found.target, found.status) == (run.uid, run.target, run.status)
    made = Schedule(str(uuid.uuid4()), PROJECT, "n", "task", "a", "0 3 * * *", 1, 1)
    await store.schedules.create(made, lambda _count: None)
    await store.close()
    again = SqliteStore(path)
    await again.open()
    assert await again.schedules.get(PROJECT, made.id) == made
    await again.close()
