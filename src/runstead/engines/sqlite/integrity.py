"""Checks the whole SQLite file in pages, each in a snapshot of its own, so a long check blocks no checkpoint."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from runstead.core.runs.invariants import BELONGINGS
from runstead.engines.sql.integrity import FACTS, checked_runs
from runstead.engines.sqlite.connection import snapshot
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.sql import Q
from runstead.ports.store import IntegrityPage, Stats, TableSize

_SEQ_MAX: Final = (1 << 39) - 2  # event ids take the other bits
_TABLES: Final = [table for table in BELONGINGS if table not in ("run_events", "run_families")]


class SqliteIntegrity:
    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def latest_seq(self) -> int:
        return await self._readers.scan(lambda c: int(c.execute(Q["integrity_latest_seq"]).fetchone()[0]))

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        def read(connection: sqlite3.Connection) -> IntegrityPage:
            with snapshot(connection):
                return _page(connection, after, limit)

        return await self._readers.scan(read)

    async def others(self, check: str) -> list[tuple[object, ...]]:
        return await self._readers.scan(lambda c: c.execute(Q[f"check_{check}"]).fetchall())

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
    rows = connection.execute(Q["stats_runs"]).fetchall()
    events = sum(row[2] for row in rows)
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
    runs = sum(row[1] for row in rows)
    pending = [row[3] for row in rows if row[3] is not None]
    return Stats(
        engine="sqlite",
        bytes=pages * size,
        log_bytes=log.stat().st_size if log.exists() else 0,
        tables=tables,
        runs={row[0]: row[1] for row in rows},
        oldest_pending_at=min(pending, default=None),
        events_per_run=events / runs if runs else None,
    )


def _page(connection: sqlite3.Connection, after: int, limit: int) -> IntegrityPage:
    runs = [to_run(row) for row in connection.execute(Q["integrity_runs"], (after, limit))]
    more = len(runs) == limit
    between = (after, runs[-1].seq if more else _SEQ_MAX)

    rows = {name: connection.execute(Q[f"integrity_{name}"], between) for name in FACTS}
    checked = checked_runs(runs, rows)
    orphans = [("run_events", row[0]) for row in connection.execute(Q["integrity_orphaned_events"], between)]
    for table in _TABLES:
        orphans += [(table, row[0]) for row in connection.execute(_orphans(table), between)]
    return IntegrityPage(checked, orphans, runs[-1].seq if runs else after, more)


def _orphans(table: str) -> str:
    return (
        f"SELECT DISTINCT run_seq FROM {table} AS t WHERE run_seq > ?1 AND run_seq <= ?2"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = t.run_seq)"
    )
