"""Opening the file: pragmas in one place."""

import sqlite3
import time
from pathlib import Path
from typing import Final

from runstead.core.errors import Error

VERSION_MIN: Final = (3, 40, 0)
LOCK_S: Final = 5.0
SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


def refuse_old_library() -> None:
    if sqlite3.sqlite_version_info < VERSION_MIN:
        raise RuntimeError(
            f"SQLite {sqlite3.sqlite_version} is too old: Runstead needs {'.'.join(map(str, VERSION_MIN))} or newer"
        )


def connect(path: Path, synchronous: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that may be handed between threads, one at a time, and that begins transactions only when told."""
    assert synchronous in SYNCHRONOUS, synchronous
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=LOCK_S
    )
    _turn_log_on(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # The writer's working set are the right edges of its trees; readers lean on the system's page cache.
    connection.execute(f"PRAGMA cache_size = -{8 * 1024 if read_only else 16 * 1024}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _turn_log_on(connection: sqlite3.Connection) -> None:
    """In a new file two programs may do so at once. SQLite waits for other locks by itself, but not for this one."""
    until = time.monotonic() + LOCK_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as trouble:
            if trouble.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def trouble_with(error: Exception, what: str) -> Exception:
    """What a failure of SQLite is to a caller: trouble with the file is `STORE_UNAVAILABLE`, and a broken constraint
    or statement is our own mistake and stays what it is. SQLite's sentence is short and names no data.
    """
    ours = (
        sqlite3.IntegrityError,
        sqlite3.ProgrammingError,
        sqlite3.InterfaceError,
        sqlite3.NotSupportedError,
    )
    if not isinstance(error, sqlite3.Error) or isinstance(error, ours):
        return error
    return Error("STORE_UNAVAILABLE", f"The store could not {what} ({error})", retry_after_s=1)
