"""Deletes old families from PostgreSQL. Their events stay, not found by reads, until their whole partition is dropped."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import structlog

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.runs.run import seqs_of
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import BROKEN, Connection, connect_alone, trouble_with
from runstead.engines.postgres.messages import delete_message
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.rollups import note_leaving
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.conversations import Child
from runstead.engines.sql.retention import SqlRetention
from runstead.engines.sql.steps import Database, now, select
from runstead.ports.store import Archived, RetentionCandidate

log = structlog.get_logger(__name__)


class PostgresRetention(SqlRetention):
    def __init__(self, url: str, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._url = url
        self._writer = writer

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        return await self._writer.do(lambda c, now: _retire(c, now - age_ms, runs))

    async def sweep(self, age_ms: int) -> int:
        """Only months that are over since this age: before, their other runs may still leave."""
        before = await self._database.read(now) - age_ms
        month = datetime.fromtimestamp(before / 1000, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        try:
            connection = await connect_alone(self._url)
            try:
                dropped, locked = await _drop_months(connection, to_ms(month))
            finally:
                await connection.close()
        except BROKEN as trouble:
            raise trouble_with(trouble, "drop old partitions") from trouble
        if locked:
            return dropped
        swept: int = await self._writer.do(
            lambda c, _: c.fetchval(Q["sweep_leftovers"], to_ms(month), limits.retention_rows_per_tick_max)
        )
        return dropped + swept


async def _retire(
    connection: Connection, before: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]
) -> int:
    """Locks as everybody takes them: runs by seq, conversations, counters."""
    named = {candidate.seq for candidate, _ in runs}
    roots = {candidate.root_seq for candidate, _ in runs}
    rows = await connection.fetch(Q["lock_retired"], list(named | roots), before)
    held = {row[0]: row for row in rows}
    kept = {root for root in roots if root not in held or not held[root][3]}
    kept |= {candidate.root_seq for candidate, _ in runs if candidate.seq not in held}
    children = await DRIVER.run(connection, select("children_seqs", Child, seqs=list(named)))
    parents = {child.parent_seq for child in children if child.seq not in named}
    kept |= {candidate.root_seq for candidate, _ in runs if candidate.seq in parents}
    leaving = [(candidate.seq, archived) for candidate, archived in runs if candidate.root_seq not in kept]
    if not leaving:
        return 0
    seqs = [seq for seq, _ in leaving]
    places = {seq: held[seq][2] for seq in seqs if held[seq][2] is not None}
    await connection.fetch(Q["lock_spoken_in"], list(set(places.values())))
    stay = [
        (places[seq], seq, archived.parts, archived.outcome)
        for seq, archived in leaving
        if archived is not None
    ]
    if stay:
        await connection.execute(Q["keep_messages"], *columns_of(stay))
    silent = places.keys() - {seq for _, seq, _, _ in stay}
    for seq in sorted(silent):
        await delete_message(connection, places[seq], seq)
    await note_leaving(connection, seqs)
    written = await connection.fetchval(Q["retire_runs"], seqs)
    assert written == len(seqs), (written, len(seqs))
    fewer = Counter(above for seq in seqs for above in seqs_of(held[seq][1]) if above not in named)
    if fewer:
        moved = [(seq, -count, 0, 0) for seq, count in fewer.items()]
        await connection.execute(Q["count_families"], *columns_of(moved))
    return len(seqs)


async def _drop_months(connection: Connection, before: int) -> tuple[int, bool]:
    """Drop the partitions in which no run is left; how many, and whether one could not be locked. Their parent is
    locked for a moment: whoever holds that up for long makes it wait for the next look, and nobody waits behind it.
    """
    dropped = 0
    await connection.execute(f"SET lock_timeout = {limits.retention_lock_ms}")
    for name, first, end in await connection.fetch(Q["leftover_months"], before):
        try:
            async with connection.transaction():
                if not await _is_left(connection, name, first, end):
                    continue
                # Our own names, as PostgreSQL's catalogue tells them
                await connection.execute(f"DROP TABLE {name}")
                await connection.execute(Q["forget_leftovers"], first, end)
        except asyncpg.LockNotAvailableError:
            return dropped, True
        except asyncpg.UndefinedTableError:  # another replica was quicker
            continue
        log.info("dropped a month of events", partition=name)
        dropped += 1
    return dropped, False


async def _is_left(connection: Connection, name: str, first: int, end: int) -> bool:
    """Whether no run of the partition is there any more. Runs of one month have numbers near to each other."""
    lowest, highest = await connection.fetchrow(f"SELECT min(run_seq), max(run_seq) FROM {name}")  # noqa: S608 - a name from the catalogue
    if lowest is None:
        return True
    found = await connection.fetchval(
        "SELECT 1 FROM runs WHERE seq BETWEEN $1 AND $2 AND created_at >= $3 AND created_at < $4 LIMIT 1",
        *(lowest, highest, first, end),
    )
    return found is None
