"""The SQLite store: a file, its writer, its readers."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from runstead.core.clock import now_ms
from runstead.core.migration import PendingMigration
from runstead.engines.sql.nouns import SqlNouns
from runstead.engines.sqlite.batches import SqliteBatches
from runstead.engines.sqlite.connection import connect, refuse_old_library
from runstead.engines.sqlite.database import SqliteDatabase
from runstead.engines.sqlite.integrity import SqliteIntegrity
from runstead.engines.sqlite.migrate import migrate, pending
from runstead.engines.sqlite.permissions import create, protect
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.retention import SqliteRetention
from runstead.engines.sqlite.rollups import SqliteRollups, note_moved
from runstead.engines.sqlite.run_index import SqliteRunIndex
from runstead.engines.sqlite.runs import SqliteRuns
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import PoolUse, Sizes


class SqliteStore(SqlNouns):
    """`path` is created where it does not exist. Several processes may have it open; one should serve."""

    def __init__(self, path: Path, clock: Callable[[], int] = now_ms, synchronous: str = "FULL") -> None:
        refuse_old_library()
        self._path = path
        self._clock = clock
        self._synchronous = synchronous
        self._closing = AsyncExitStack()  # closes last what was opened first

    async def open(self) -> None:
        with self._migrated() as (first, _):
            if (
                first.execute("SELECT 1 FROM sqlite_schema WHERE name = 'copy_progress'").fetchone()
                is not None
            ):
                raise RuntimeError(
                    f"{self._path} holds an unfinished copy: finish it with `runstead db copy`"
                )
        writer = Writer(lambda: connect(self._path, self._synchronous), self._clock)
        readers = Readers(lambda: connect(self._path, self._synchronous, read_only=True))
        self._writer, self._readers = writer, readers
        self._closing.push_async_callback(writer.close)
        self._closing.push_async_callback(readers.close)
        database = SqliteDatabase(writer, readers)
        self.open_nouns(database, SqliteDatabase(writer, readers, self._clock), note_moved)
        self.runs = SqliteRuns(writer, readers)
        self.batches = SqliteBatches(database, writer)
        self.integrity = SqliteIntegrity(database, readers)
        self.retention = SqliteRetention(database)
        self.run_index = SqliteRunIndex(writer, readers)
        self.rollups = SqliteRollups(database, writer, readers)

    async def migrate(self) -> list[str]:
        with self._migrated() as (_, applied):
            return applied

    @contextmanager
    def _migrated(self) -> Iterator[tuple[sqlite3.Connection, list[str]]]:
        """A connection to the file, which has all migrations now, and the names of those that it lacked."""
        try:
            create(self._path)
            with closing(connect(self._path, self._synchronous)) as first:
                applied = migrate(first)
                try:
                    yield first, applied
                finally:
                    first.close()  # with the files beside it
                    protect(self._path)  # not earlier: it may be another program's file
        except sqlite3.Error as trouble:
            raise RuntimeError(f"cannot use the database {self._path}: {trouble}") from trouble

    async def pending(self) -> list[PendingMigration]:
        if not self._path.exists():
            raise RuntimeError(f"there is no database {self._path}")
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as first:
                return pending(first)
        except sqlite3.Error as trouble:
            raise RuntimeError(f"cannot use the database {self._path}: {trouble}") from trouble

    async def close(self) -> None:
        await self._closing.aclose()

    async def check(self) -> dict[str, Any]:
        # Writes one row for real: a full or read-only disk lets an empty transaction pass.
        await self._writer.do(
            lambda c, now: c.execute("UPDATE pulse SET at = ?", (now,)).rowcount, quick=True
        )
        return self.facts()

    @property
    def busy(self) -> bool:
        """Whether a read or a write is not answered yet."""
        return bool(self._writer.waiting or self._readers.waiting)

    def expected_wait_s(self) -> float:
        return self._writer.expected_wait_s()

    @property
    def address(self) -> str:
        return str(self._path)

    def facts(self) -> dict[str, Any]:
        writer = self._writer
        return {
            "engine": "sqlite",
            "synchronous": self._synchronous,
            "queue_depth": writer.waiting,
            "commits": writer.commits,
            "commands": writer.commands,
        }

    def pools(self) -> list[PoolUse]:
        return self._readers.pools()

    async def sizes(self) -> Sizes:
        return await asyncio.to_thread(_sizes, self._path)


def _sizes(path: Path) -> Sizes:
    log = Path(f"{path}-wal")
    return Sizes(path.stat().st_size, log.stat().st_size if log.exists() else 0)
