"""Limits on running runs, in SQLite."""

import sqlite3
from collections.abc import Sequence

from runstead.core import limits as bounds
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


def occupancies(connection: sqlite3.Connection, project_id: str, most: int) -> list[Occupancy]:
    """The limits of a project, and how many runs count for each, up to `most`. Without limits it is one look."""
    rows = connection.execute(Q["occupancies"], (project_id, most)).fetchall()
    return [Occupancy(ConcurrencyLimit(target or None, limit), running) for target, limit, running in rows]


class SqliteConcurrency:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        rows = [(project_id, limit.target or "", limit.max_running) for limit in limits]

        def job(connection: sqlite3.Connection, _now: int) -> list[Occupancy]:
            connection.execute(Q["drop_concurrency_limits"], (project_id,))
            connection.executemany(Q["add_concurrency_limit"], rows)
            return occupancies(connection, project_id, bounds.running_counted_max)

        return await self._writer.do(job)

    async def of(self, project_id: str) -> list[Occupancy]:
        return await self._readers.do(lambda c: occupancies(c, project_id, bounds.running_counted_max))
