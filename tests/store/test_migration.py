"""A file that an older program wrote is brought up to date with all that is in it."""

import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest

from runstead.core.runs.transitions import fire_due
from runstead.core.schedules.schedule import UNPLANNED, Schedule
from runstead.engines.sqlite import migrate as migrations
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.store import SqliteStore
from runstead.ports.store import RunKey, ScheduleQuery

SPINE = "0001_the_spine"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A file as the first version made it, with a conversation of two agent runs and one without."""
    path = tmp_path / "old.db"
    sql = (files("runstead.engines.sqlite") / "migrations" / f"{SPINE}.sql").read_text()
    with monkeypatch.context() as first, closing(connect(path, "OFF")) as connection:
        first.setattr(migrations, "_known", lambda: {SPINE: sql})
        assert migrate(connection) == [SPINE]
        for name, count in (("c-1", 2), ("c-2", 0)):
            connection.execute(
                "INSERT INTO conversations (id, project_id, type, created_at, updated_at, personal, status,"
                " message_count) VALUES (?, 'p-1', 'chat', 1, 1, 0, 'active', ?)",
                (name, count),
            )
        for seq in (1, 2):
            connection.execute(
                "INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,"
                " updated_at, seq, path, descendants_total, descendants_active, attempt, attempts_lost,"
                " latest_event_id, latest_external_event_sequence, version, conversation_id)"
                " VALUES (?1, 'p-1', ?1, 'agent', 'running', 'conversation', 'c-1', ?1, 1, 1, ?2, '/', 0, 0, 0, 0, 0, 0, 1,"
                " 'c-1')",
                (f"run-{seq}", seq),
            )
            connection.execute(
                "INSERT INTO messages (conversation_id, seq, id, run_seq, created_by, created_at)"
                " VALUES ('c-1', ?, ?, ?, 'ada', 5)",
                (seq, f"m-{seq}", seq),
            )
    return path


async def test_messages_and_runs_are_kept(old):
    store = SqliteStore(old, synchronous="OFF")
    await store.open()
    spoken = await store.conversations.messages("c-1", 0, 10, 10**6)
    assert [(one.message.id, one.message.role, one.message.seq) for one in spoken] == [
        ("m-1", "assistant", 1),
        ("m-2", "assistant", 2),
    ]
    assert [(one.run.run_id, one.message.created_by) for one in spoken] == [
        ("run-1", "ada"),
        ("run-2", "ada"),
    ]
    assert (await store.conversations.get("c-1")).current_node == "m-2"
    assert (await store.conversations.get("c-2")).current_node is None
    assert (await store.runs.get(RunKey("p-1", "run-1"))).waiting_input_id is None
    await store.close()


async def test_an_old_file_takes_schedules(old):
    made = Schedule("s-1", "p-1", "nightly", "task", "a", "0 3 * * *", 1, 1)
    for _ in range(2):  # as it stands after the first start, and after the next
        store = SqliteStore(old, synchronous="OFF")
        await store.open()
        if await store.schedules.get("p-1", "s-1") is None:
            await store.schedules.create("p-1", lambda *_: made)
        assert await store.schedules.get("p-1", "s-1") == made
        await store.close()


async def test_schedules_of_an_old_file_are_planned_when_they_are_first_looked_at(old, monkeypatch):
    known = migrations._known()
    with monkeypatch.context() as before, closing(connect(old, "OFF")) as connection:
        before.setattr(migrations, "_known", lambda: {n: sql for n, sql in known.items() if n < "0006"})
        migrate(connection)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(schedules)")]
        for name, status, completed_at in (("a", "active", None), ("b", "paused", None), ("c", "active", 5)):
            one = Schedule(
                name, "p-1", name, "task", "t", "0 3 * * *", 1, 1, status=status, completed_at=completed_at
            )
            values = [getattr(one, column) for column in columns]
            connection.execute(f"INSERT INTO schedules VALUES ({', '.join('?' for _ in values)})", values)
    store = SqliteStore(old, lambda: 1_774_008_000_000, synchronous="OFF")
    await store.open()
    found = {one.id: one.next_fire_at for one in (await store.schedules.page(ScheduleQuery("p-1", 10))).rows}
    assert found == {"a": UNPLANNED, "b": None, "c": None}
    [looked] = await store.runs.fire(10, fire_due)
    assert (looked.schedule.id, looked.fired.outcome) == ("a", "planned")
    assert (await store.schedules.get("p-1", "a")).next_fire_at == 1_774_008_000_000 + 15 * 3_600_000
    assert await store.runs.fire(10, fire_due) == []
    await store.close()


async def test_it_is_brought_up_to_date_once_and_its_constraints_hold(old):
    with closing(connect(old, "OFF")) as connection:
        assert migrate(connection)
        assert migrate(connection) == []
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO messages (id, conversation_id, role, created_at, updated_at, seq)"
                " VALUES ('m-9', 'nowhere', 'user', 1, 1, 1)"
            )
