"""Copies the file of a store at one moment, while servers write to it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from runstead.core import limits
from runstead.core.backup import BackupError
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.permissions import create


def copy_online(source: Path, target: Path, advance: Callable[[int, int], None]) -> None:
    """Copy all pages of one snapshot. `advance` gets (pages done, pages). BackupError.

    The read transaction keeps the snapshot, so pieces of the copy see the same pages, and SQLite never starts the copy
    again as it does after a write (https://sqlite.org/c3ref/backup_finish.html). In WAL mode the transaction blocks no
    writer. Until it ends, the `-wal` file grows. VACUUM INTO would change the rowids by which tables are read.
    """
    create(target)
    try:
        with closing(connect(source, "FULL", read_only=True)) as reading:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            with closing(sqlite3.connect(target)) as writing:
                writing.execute("PRAGMA synchronous = OFF")  # the place syncs the whole file
                reading.backup(
                    writing,
                    pages=limits.backup_pages_max,
                    progress=lambda _status, remaining, total: advance(total - remaining, total),
                )
    except sqlite3.Error as trouble:
        raise BackupError(f"cannot copy the database {source} to {target}: {trouble}") from trouble
