"""Deletes old families from PostgreSQL. Their events stay, invisible, until the whole partition is dropped."""

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import structlog

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection, session_alone
from runstead.engines.postgres.rollups import note_deleted
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.retention import SqlRetention
from runstead.engines.sql.steps import Database, now

log = structlog.get_logger(__name__)


class PostgresRetention(SqlRetention):
    def __init__(self, url: str, database: Database, writer: Writer) -> None:
        super().__init__(database, _delete_runs)
        self._url = url
        self._writer = writer

    async def sweep(self, age_ms: int) -> int:
        """Drop partitions of months that ended at least `age_ms` ago. Return how many partitions and rows."""
        before = await self._database.read(now) - age_ms
        month = datetime.fromtimestamp(before / 1000, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        async with session_alone(self._url, "drop old partitions") as connection:
            dropped, locked = await _drop_months(connection, to_ms(month))
        if locked:
            return dropped
        swept: int = await self._writer.do(
            lambda c, _: c.fetchval(Q["sweep_leftovers"], to_ms(month), limits.retention_rows_per_tick_max)
        )
        return dropped + swept


async def _delete_runs(connection: Connection, seqs: Sequence[int]) -> None:
    await note_deleted(connection, seqs)
    written = await connection.fetchval(Q["retire_runs"], list(seqs))
    assert written == len(seqs), (written, len(seqs))


async def _drop_months(connection: Connection, before: int) -> tuple[int, bool]:
    """Drop the partitions without runs. Return how many, and whether a lock timed out. The parent is locked only for
    a moment: after a lock timeout the next tick retries, so other transactions do not queue behind it.
    """
    dropped = 0
    await connection.execute(f"SET lock_timeout = {limits.retention_lock_ms}")
    for name, first, end in await connection.fetch(Q["leftover_months"], before):
        try:
            async with connection.transaction():
                if not await _is_unused(connection, name, first, end):
                    continue
                await connection.execute(f"DROP TABLE {name}")
                await connection.execute(Q["forget_leftovers"], first, end)
        except asyncpg.LockNotAvailableError:
            return dropped, True
        except asyncpg.UndefinedTableError:  # another replica dropped it
            continue
        log.info("dropped a month of events", partition=name)
        dropped += 1
    return dropped, False


async def _is_unused(connection: Connection, name: str, first: int, end: int) -> bool:
    """Whether all runs of the partition are deleted. The seqs of a month are close to each other."""
    lowest, highest = await connection.fetchrow(f"SELECT min(run_seq), max(run_seq) FROM {name}")  # noqa: S608 - a name from the catalogue
    if lowest is None:
        return True
    found = await connection.fetchval(
        "SELECT 1 FROM runs WHERE seq BETWEEN $1 AND $2 AND created_at >= $3 AND created_at < $4 LIMIT 1",
        *(lowest, highest, first, end),
    )
    return found is None
