"""What a deleted run leaves behind in the SQLite file: nothing but its places in its family's order."""

import sqlite3
from contextlib import closing

import msgspec

from runstead.core.conversations.conversation import Conversation
from runstead.core.queue.worker import Session
from runstead.core.runs.transition import NewMessage

PROJECT = "11111111-1111-4111-8111-111111111111"


def rows_of(path, run_seq):
    """table → how many of its rows are of this run."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        found = {}
        for table in tables:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if "run_seq" in columns:
                count = connection.execute(f"SELECT count(*) FROM {table} WHERE run_seq = ?", (run_seq,))
                found[table] = count.fetchone()[0]
        events = "SELECT count(*) FROM run_events WHERE id >> 24 = ?"
        found["run_events"] = connection.execute(events, (run_seq,)).fetchone()[0]
        found["runs"] = connection.execute("SELECT count(*) FROM runs WHERE seq = ?", (run_seq,)).fetchone()[
            0
        ]
        return found


async def test_no_table_holds_anything_of_a_deleted_run(driver_at, tmp_path, event):
    path = tmp_path / "runs.db"
    driver = await driver_at(path)
    await driver.store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    await driver.create("root")
    agent = {"kind": "agent", "implementation_kind": "python", "conversation_id": "c-1"}
    agent["agent"] = msgspec.json.encode({"message_id": "m-1"})
    run = await driver.create("a", parent="root", message=NewMessage("m-1", "c-1", None), **agent)
    await driver.claim("ann", kinds=("agent",), implementation_kind="python")
    await driver.store.workers.put_session(run.seq, Session("s", "a", "python", "ann", "key", "active", 0, 0))
    await driver.append("a", event(key="k"))
    await driver.wait("a", call="call-1")
    await driver.resume("a", call="call-1")
    await driver.release("a", retry_after_ms=0)
    await driver.complete("a")
    held = rows_of(path, run.seq)
    assert all(
        held[table] for table in ("runs", "run_events", "run_event_keys", "run_attempts", "run_receipts")
    )
    assert held["messages"] == held["worker_sessions"] == 1
    await driver.delete("a")
    assert await driver.store.rollups.add_entries(10) == 2  # its end, and that it is gone
    left = rows_of(path, run.seq)
    assert {table for table, count in left.items() if count} == {"family_log"}
    await driver.complete("root")
    root = await driver.row("root")
    await driver.delete("root")
    assert await driver.store.rollups.add_entries(10) == 2
    assert not any(rows_of(path, run.seq).values())
    assert not any(rows_of(path, root.seq).values())


async def test_the_next_message_of_a_conversation_comes_after_a_deleted_one(driver_at, tmp_path):
    driver = await driver_at(tmp_path / "runs.db")
    await driver.store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    for n in range(3):
        agent = {"kind": "agent", "conversation_id": "c-1"}
        agent["agent"] = msgspec.json.encode({"message_id": f"m-{n}"})
        await driver.create(f"a-{n}", message=NewMessage(f"m-{n}", "c-1", None), **agent)
        if n == 1:
            await driver.complete("a-0")
            await driver.delete("a-0")
    assert (await driver.store.conversations.get("c-1")).message_count == 3
