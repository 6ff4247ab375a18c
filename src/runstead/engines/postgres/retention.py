"""Deletes old families from PostgreSQL. Their events stay, invisible, until the whole partition is dropped."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import structlog

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.runs.run import seqs_of
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection, session_alone
from runstead.engines.postgres.messages import delete_message
from runstead.engines.postgres.related import DRIVER, count_artifact_bytes
from runstead.engines.postgres.rollups import note_deleted
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


async def _retire(
    connection: Connection, before: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]
) -> int:
    """Delete the runs. Lock order as everywhere: runs by seq, conversations, counters."""
    seqs_given = {candidate.seq for candidate, _ in runs}
    roots = {candidate.root_seq for candidate, _ in runs}
    rows = await connection.fetch(Q["lock_retired"], list(seqs_given | roots), before)
    locked_rows = {row[0]: row for row in rows}
    kept = {root for root in roots if root not in locked_rows or not locked_rows[root][3]}
    kept |= {candidate.root_seq for candidate, _ in runs if candidate.seq not in locked_rows}
    children = await DRIVER.run(connection, select("children_seqs", Child, seqs=list(seqs_given)))
    parents = {child.parent_seq for child in children if child.seq not in seqs_given}
    kept |= {candidate.root_seq for candidate, _ in runs if candidate.seq in parents}
    deleted = [(candidate.seq, archived) for candidate, archived in runs if candidate.root_seq not in kept]
    if not deleted:
        return 0
    seqs = [seq for seq, _ in deleted]
    conversations = {seq: locked_rows[seq][2] for seq in seqs if locked_rows[seq][2] is not None}
    await connection.fetch(Q["lock_conversations_of_runs"], list(set(conversations.values())))
    kept_messages = [
        (conversations[seq], seq, archived.parts, archived.outcome)
        for seq, archived in deleted
        if archived is not None
    ]
    if kept_messages:
        await connection.execute(Q["keep_messages"], *columns_of(kept_messages))
    without_message = conversations.keys() - {seq for _, seq, _, _ in kept_messages}
    for seq in sorted(without_message):
        await delete_message(connection, conversations[seq], seq)
    await note_deleted(connection, seqs)
    written = await connection.fetchval(Q["retire_runs"], seqs)
    assert written == len(seqs), (written, len(seqs))
    descendants_deleted = Counter(
        ancestor for seq in seqs for ancestor in seqs_of(locked_rows[seq][1]) if ancestor not in seqs_given
    )
    if descendants_deleted:
        changes = [(seq, -count, 0, 0) for seq, count in descendants_deleted.items()]
        await connection.execute(Q["count_families"], *columns_of(changes))
    artifact_bytes: Counter[str] = Counter()
    for seq in seqs:
        artifact_bytes[locked_rows[seq][4]] -= locked_rows[seq][5]
    await count_artifact_bytes(connection, artifact_bytes)
    return len(seqs)


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
