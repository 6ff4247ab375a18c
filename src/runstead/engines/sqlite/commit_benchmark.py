"""The upper bound of the engine's throughput: the smallest durable write from concurrent callers."""

import asyncio
import sqlite3
import time
from pathlib import Path

from runstead.core.clock import now_ms
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.writer import Writer


async def updates_per_second(path: Path, concurrency: int, seconds: float) -> float:
    """Group-committed single-row updates/s with synchronous=FULL, in a new file at `path`."""
    first = connect(path, "FULL")
    first.execute("CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
    first.executemany("INSERT OR IGNORE INTO counters VALUES (?, 0)", [(n,) for n in range(concurrency)])
    first.close()
    writer = Writer(lambda: connect(path, "FULL"), now_ms)
    done = 0
    began = time.perf_counter()

    async def caller(row: int) -> None:
        nonlocal done

        def update(connection: sqlite3.Connection, _now: int) -> None:
            connection.execute("UPDATE counters SET n = n + 1 WHERE id = ?", (row,))

        while time.perf_counter() - began < seconds:
            await writer.do(update, quick=True)
            done += 1

    try:
        await asyncio.gather(*(caller(row) for row in range(concurrency)))
        return done / (time.perf_counter() - began)
    finally:
        await writer.close()
