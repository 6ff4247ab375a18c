"""Opens the file with all its pragmas, and maps errors."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runstead.core.errors import Error
from runstead.engines.sqlite.packing import searched_text

VERSION_MIN: Final = (3, 40, 0)
LOCK_S: Final = 5.0
SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


def refuse_old_library() -> None:
    if sqlite3.sqlite_version_info < VERSION_MIN:
        raise RuntimeError(
            f"SQLite {sqlite3.sqlite_version} is too old: Runstead needs {'.'.join(map(str, VERSION_MIN))} or newer"
        )


def connect(path: Path, synchronous: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection in autocommit mode that threads may share, one at a time."""
    assert synchronous in SYNCHRONOUS, synchronous
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=LOCK_S
    )
    _enable_wal(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # The writer mostly touches the right edge of its B-trees; readers rely on the page cache of the OS.
    connection.execute(f"PRAGMA cache_size = -{8 * 1024 if read_only else 16 * 1024}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    connection.create_function("searched_text", 2, searched_text, deterministic=True)
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads in it see the file at one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, with retries: busy_timeout does not apply when two processes do this in a new file."""
    until = time.monotonic() + LOCK_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def trouble_with(error: Exception, what: str) -> Exception:
    """Map a problem with the file to `STORE_UNAVAILABLE`. A broken constraint or statement is a bug and is returned
    unchanged. SQLite's message is short and contains no data.
    """
    bugs = (
        sqlite3.IntegrityError,
        sqlite3.ProgrammingError,
        sqlite3.InterfaceError,
        sqlite3.NotSupportedError,
    )
    if not isinstance(error, sqlite3.Error) or isinstance(error, bugs):
        return error
    return Error("STORE_UNAVAILABLE", f"The store could not {what} ({error})", retry_after_s=1)
