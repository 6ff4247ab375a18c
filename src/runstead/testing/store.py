"""A SQLite store in a temporary directory, for tests."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from runstead.core.clock import now_ms
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.store import SqliteStore

#: (time, whether it is a retry) of runs with a deadline or in the queue, and of schedules.
_TIMES: Final = """
SELECT due_at, waiting_tool_name IS 'retry' OR (available_at IS NOT NULL AND attempt > 0) FROM runs
WHERE due_at > :now
UNION ALL
SELECT coalesce(pinned_available_at, available_at), waiting_tool_name IS 'retry' OR attempt > 0 FROM runs
WHERE available_at > :now AND (pinned_available_at IS NULL OR pinned_available_at > :now)
UNION ALL
SELECT next_fire_at, FALSE FROM schedules WHERE next_fire_at > :now
"""


@cache
def _empty() -> bytes:
    """An empty store's file. A process with many tests migrates once: it takes longer than the rest of a short test."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        image = bytearray(connection.serialize())
    image[18:20] = b"\2\2"  # its header says WAL: to change a file's journal takes as long as to open it
    return bytes(image)


class TemporaryStore(SqliteStore):
    """The SQLite engine without waiting for the disk. `close` removes its file."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="runstead-test-")
        path = Path(self._directory.name) / "runs.db"
        path.touch(0o600)
        path.write_bytes(_empty())
        super().__init__(path, clock, synchronous="OFF")

    async def close(self) -> None:
        await super().close()
        self._directory.cleanup()

    def times_after(self, now: int, *, retries: bool) -> Iterator[int]:
        """Yield times after `now`, in ms, at which runs are due or can be claimed and schedules fire.

        `retries`: only the times at which runs are retried.
        """
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(_TIMES, {"now": now}).fetchall()
        return (at for at, retry in rows if retry or not retries)
