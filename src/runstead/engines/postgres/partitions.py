"""Partitions of run_events: one for each month in which runs are created, made ahead of time.

Events of runs whose month has no partition go to `run_events_other`, so that nothing is ever refused for the lack of one.
"""

from datetime import UTC, datetime
from itertools import pairwise

import asyncpg
import structlog

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.migrate import LOCK

log = structlog.get_logger(__name__)


def months_from(now: int, count: int) -> list[tuple[str, int, int]]:
    """(name, first ms, first ms of the next) of the month of `now` and those after it."""
    today = datetime.fromtimestamp(now / 1000, UTC)
    place = today.year * 12 + today.month - 1
    starts = [datetime((place + n) // 12, (place + n) % 12 + 1, 1, tzinfo=UTC) for n in range(count + 1)]
    return [(f"run_events_{start:%Y_%m}", to_ms(start), to_ms(end)) for start, end in pairwise(starts)]


async def make_partitions(
    connection: Connection, now: int, months: int = limits.partitions_ahead_months + 1
) -> list[str]:
    """Make those that are missing, from the month of `now` on; their names."""
    there = await _partitions(connection)
    made = []
    for name, first, end in months_from(now, months):
        if name in there:
            continue
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                if name in await _partitions(connection):
                    continue
                # Made beside the table and then attached: that holds up nobody who writes to the other months.
                await connection.execute(
                    f"CREATE TABLE {name} (LIKE run_events INCLUDING COMPRESSION, PRIMARY KEY (run_seq, event_id));"
                    f"ALTER TABLE run_events ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"
                )
        except asyncpg.CheckViolationError:
            log.warning("a month's events are in run_events_other already, and stay there", partition=name)
            continue
        made.append(name)
    return made


async def _partitions(connection: Connection) -> set[str]:
    """Read as a table: names that PostgreSQL resolves for us may be out of date for as long as we wait for a lock."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'run_events'::regclass"
    )
    return {row[0] for row in rows}
