"""Checks the whole database in pages, each in a snapshot of its own, so a long check blocks no vacuum."""

from typing import Any, Final, TypeVar

from runstead.core.runs.invariants import BELONGINGS
from runstead.core.runs.run import Run
from runstead.engines.postgres.connection import BROKEN, Connection, connect_alone, trouble_with
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.integrity import checked_page, counted, rows_of, stats_of
from runstead.engines.sql.steps import Steps, value
from runstead.ports.store import IntegrityPage, Sizes, Stats, TableSize

T = TypeVar("T")
_SEQ_MAX: Final = (1 << 62) - 1


class PostgresIntegrity:
    """Uses one session of its own, without timeouts and with the planner's default settings."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    async def _session(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_alone(self._url)
        return self._connection

    async def _run(self, steps: Steps[T]) -> T:
        """Run steps in one snapshot."""
        try:
            connection = await self._session()
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await DRIVER.run(connection, steps)
        except BROKEN as error:
            raise trouble_with(error, "read") from error

    async def _ask(self, query: str) -> list[Any]:
        try:
            return list(await (await self._session()).fetch(Q[query]))
        except BROKEN as error:
            raise trouble_with(error, "read") from error

    async def latest_seq(self) -> int:
        seq: int = await self._run(value("integrity_latest_seq"))
        return seq

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        return await self._run(checked_page(_read_runs, _orphans, after, limit, _SEQ_MAX))

    async def others(self, check: str) -> list[tuple[object, ...]]:
        return await self._run(rows_of(f"check_{check}"))

    async def stats(self) -> Stats:
        counts = await self._run(counted())
        try:
            sizes = await read_sizes(await self._session())
        except BROKEN as error:
            raise trouble_with(error, "read") from error
        return stats_of(
            "postgres", counts, sizes, [TableSize(*row) for row in await self._ask("stats_tables")]
        )

    async def medium(self) -> list[str]:
        rows = await self._ask("integrity_invalid_indexes")
        return [f"The index {index} of {table} is invalid: REINDEX it" for index, table in rows]

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


async def read_sizes(connection: Connection) -> Sizes:
    database, may_read_wal = await connection.fetchrow(Q["stats_bytes"])
    return Sizes(database, await connection.fetchval(Q["stats_wal_bytes"]) if may_read_wal else None)


async def _read_runs(connection: Connection, after: int, limit: int) -> list[Run]:
    return [to_run(row) for row in await connection.fetch(Q["integrity_runs"], after, limit)]


async def _orphans(connection: Connection, *bounds: int) -> list[tuple[str, int]]:
    found = []
    for table in BELONGINGS:
        found += [(table, row[0]) for row in await connection.fetch(_orphans_sql(table), *bounds)]
    return found


def _orphans_sql(table: str) -> str:
    """Events of runs that retention deleted stay until their partition is dropped."""
    unswept = (
        " AND NOT EXISTS (SELECT 1 FROM run_leftovers AS l"
        " WHERE l.run_created_at = t.run_created_at AND l.run_seq = t.run_seq)"
    )
    return (
        f"SELECT DISTINCT run_seq FROM {table} AS t WHERE run_seq > $1 AND run_seq <= $2"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = t.run_seq)"
        + (unswept if table == "run_events" else "")
    )
