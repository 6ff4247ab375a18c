"""Checks the whole database in pages, each in a snapshot of its own, so a long check blocks no vacuum."""

from typing import Any, Final

from runstead.core.runs.invariants import BELONGINGS
from runstead.engines.postgres.connection import BROKEN, Connection, connect_alone, trouble_with
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.integrity import FACTS, checked_runs
from runstead.ports.store import IntegrityPage, Sizes, Stats, TableSize

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

    async def latest_seq(self) -> int:
        [row] = await self._ask("integrity_latest_seq")
        return int(row[0])

    async def _ask(self, query: str) -> list[Any]:
        try:
            return list(await (await self._session()).fetch(Q[query]))
        except BROKEN as error:
            raise trouble_with(error, "read") from error

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        try:
            connection = await self._session()
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _page(connection, after, limit)
        except BROKEN as error:
            raise trouble_with(error, "read") from error

    async def others(self, check: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in await self._ask(f"check_{check}")]

    async def stats(self) -> Stats:
        rows = await self._ask("stats_runs")
        try:
            sizes = await read_sizes(await self._session())
        except BROKEN as error:
            raise trouble_with(error, "read") from error
        runs, events = sum(row[1] for row in rows), sum(row[2] for row in rows)
        pending = [row[3] for row in rows if row[3] is not None]
        return Stats(
            engine="postgres",
            bytes=sizes.database,
            log_bytes=sizes.wal,
            tables=[TableSize(*row) for row in await self._ask("stats_tables")],
            runs={row[0]: row[1] for row in rows},
            oldest_pending_at=min(pending, default=None),
            events_per_run=events / runs if runs else None,
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


async def _page(connection: Connection, after: int, limit: int) -> IntegrityPage:
    runs = [to_run(row) for row in await connection.fetch(Q["integrity_runs"], after, limit)]
    more = len(runs) == limit
    between = (after, runs[-1].seq if more else _SEQ_MAX)

    rows = {name: await connection.fetch(Q[f"integrity_{name}"], *between) for name in FACTS}
    checked = checked_runs(runs, rows)
    orphans = []
    for table in BELONGINGS:
        rows = await connection.fetch(_orphans(table), *between)
        orphans += [(table, row[0]) for row in rows]
    return IntegrityPage(checked, orphans, runs[-1].seq if runs else after, more)


def _orphans(table: str) -> str:
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
