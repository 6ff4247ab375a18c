"""Checks the whole SQLite file in pages, each in a snapshot of its own, so a long check blocks no checkpoint."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from runstead.core.runs.invariants import BELONGINGS
from runstead.core.runs.run import Run
from runstead.engines.sql.integrity import checked_page, counted, rows_of, stats_of
from runstead.engines.sql.steps import Database, value
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.related import DRIVER
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.sql import Q
from runstead.ports.store import IntegrityPage, Sizes, Stats, TableSize

_SEQ_MAX: Final = (1 << 39) - 2  # event ids take the other bits
_TABLES: Final = [table for table in BELONGINGS if table not in ("run_events", "run_families")]


class SqliteIntegrity:
    def __init__(self, database: Database, readers: Readers) -> None:
        self._database = database
        self._readers = readers

    async def latest_seq(self) -> int:
        seq: int = await self._database.scan(value, "integrity_latest_seq")
        return seq

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        return await self._database.snapshot(checked_page, _read_runs, _orphans, after, limit, _SEQ_MAX)

    async def others(self, check: str) -> list[tuple[object, ...]]:
        return await self._database.scan(rows_of, f"check_{check}")

    async def stats(self) -> Stats:
        return await self._readers.scan(_stats)

    async def medium(self) -> list[str]:
        def read(connection: sqlite3.Connection) -> list[str]:
            messages = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            found = [f"SQLite finds: {message}" for message in messages if message != "ok"]
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchall()[:100]:
                found.append(f"A row of {table} (rowid {row}) refers to a missing row of {parent}")
            return found

        return await self._readers.scan(read)


def _stats(connection: sqlite3.Connection) -> Stats:
    counts = DRIVER.run(connection, counted())
    events = sum(each.events for each in counts)
    bytes_of: dict[str, int] = {}
    with suppress(sqlite3.OperationalError):  # a library without dbstat
        bytes_of = dict(connection.execute(Q["stats_bytes"]).fetchall())
    tables = []
    for (name,) in connection.execute(Q["stats_tables"]).fetchall():
        count = f"SELECT count(*) FROM {name}"  # noqa: S608 - a name from the catalogue
        held = events if name == "run_events" else connection.execute(count).fetchone()[0]
        tables.append(TableSize(name, held, bytes_of.get(name)))
    pages, size, path = (
        connection.execute(f"PRAGMA {pragma}").fetchone()[column]
        for pragma, column in (("page_count", 0), ("page_size", 0), ("database_list", 2))
    )
    log = Path(f"{path}-wal")
    return stats_of("sqlite", counts, Sizes(pages * size, log.stat().st_size if log.exists() else 0), tables)


def _read_runs(connection: sqlite3.Connection, after: int, limit: int) -> list[Run]:
    return [to_run(row) for row in connection.execute(Q["integrity_runs"], (after, limit))]


def _orphans(connection: sqlite3.Connection, *bounds: int) -> list[tuple[str, int]]:
    found = [("run_events", seq) for (seq,) in connection.execute(Q["integrity_orphaned_events"], bounds)]
    for table in _TABLES:
        found += [(table, seq) for (seq,) in connection.execute(_orphans_sql(table), bounds)]
    return found


def _orphans_sql(table: str) -> str:
    return (
        f"SELECT DISTINCT run_seq FROM {table} AS t WHERE run_seq > ?1 AND run_seq <= ?2"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = t.run_seq)"
    )
