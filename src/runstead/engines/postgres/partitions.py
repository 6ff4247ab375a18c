"""Partitions of run_events: one per month of the runs' creation, created ahead of time.

Events of runs whose month has no partition go to the default partition `run_events_other`.
"""

from datetime import UTC, datetime
from itertools import pairwise

import asyncpg
import structlog

from runstead.core.clock import to_ms
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.migrate import with_short_locks

log = structlog.get_logger(__name__)


def months_from(now: int, count: int) -> list[tuple[str, int, int]]:
    """(name, first ms, first ms of the next) of the month of `now` and those after it."""
    today = datetime.fromtimestamp(now / 1000, UTC)
    place = today.year * 12 + today.month - 1
    starts = [datetime((place + n) // 12, (place + n) % 12 + 1, 1, tzinfo=UTC) for n in range(count + 1)]
    return [(f"run_events_{start:%Y_%m}", to_ms(start), to_ms(end)) for start, end in pairwise(starts)]


async def make_partitions(
    connection: Connection, now: int, months: int = session_limits.partitions_ahead_months + 1
) -> list[str]:
    """Create the missing partitions from the month of `now` on. Return their names."""
    existing = await _partitions(connection)
    created = []
    for name, first, end in months_from(now, months):
        if name in existing:
            continue

        async def create(name: str = name, first: int = first, end: int = end) -> bool:
            if name in await _partitions(connection):
                return False
            # A new table, attached afterwards, so that writes to the other months do not wait.
            await connection.execute(
                f"CREATE TABLE {name} (LIKE run_events INCLUDING COMPRESSION, PRIMARY KEY (run_seq, event_id));"
                f"ALTER TABLE run_events ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"
            )
            return True

        try:
            if await with_short_locks(connection, name, create):
                created.append(name)
        except asyncpg.CheckViolationError:
            log.warning("a month's events are in run_events_other already, and stay there", partition=name)
    return created


async def _partitions(connection: Connection) -> set[str]:
    """Read pg_class: a cached name may be outdated after a wait for a lock."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'run_events'::regclass"
    )
    return {row[0] for row in rows}
