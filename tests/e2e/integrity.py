"""Checks the runs in a store's file without writing, also while a server has it open."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from runstead.commands.check import check
from runstead.engines.sqlite.store import SqliteStore

EVENT_BITS = 24


def _rows(path: Path, sql: str) -> list[dict]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(sql)]


def intact(path: Path) -> bool:
    return _rows(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def stored_events(path: Path) -> dict[int, list[dict]]:
    """Return the events of every run by the run's seq, in order, with their `event_id`."""
    found: dict[int, list[dict]] = {}
    mask = (1 << EVENT_BITS) - 1
    for row in _rows(path, "SELECT * FROM run_events ORDER BY id"):
        found.setdefault(row["id"] >> EVENT_BITS, []).append(row | {"event_id": row["id"] & mask})
    return found


def check_whole(path: Path) -> dict[str, dict]:
    """Return every run by its id, with its `events`. Fail where `runstead db check` would report a violation."""
    assert asyncio.run(_violations(path)) == []
    events = stored_events(path)
    runs = _rows(path, "SELECT * FROM runs")
    return {run["run_id"]: run | {"events": events.get(run["seq"], [])} for run in runs}


async def _violations(path: Path) -> list[str]:
    store = SqliteStore(path)
    await store.open()
    try:
        return [violation.sentence async for violation in check(store)]
    finally:
        await store.close()
