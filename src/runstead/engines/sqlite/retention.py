"""Deletes old families from a SQLite file. Later writes reuse their space."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from runstead.core.runs.run import Run
from runstead.core.usage.rollup import end_of, gone
from runstead.engines.sql.conversations import Child
from runstead.engines.sql.retention import SqlRetention, roots
from runstead.engines.sql.steps import Database, select
from runstead.engines.sqlite.related import DRIVER, count_artifact_bytes
from runstead.engines.sqlite.rollups import note, rolled_up
from runstead.engines.sqlite.rows import delete_run, to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Archived, RetentionCandidate


class SqliteRetention(SqlRetention):
    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._writer = writer

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        return await self._writer.do(lambda c, now: _retire(c, now - age_ms, runs))

    async def sweep(self, age_ms: int) -> int:  # noqa: ARG002 - retire frees the space at once
        return 0


def _retire(
    connection: sqlite3.Connection, before: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]
) -> int:
    seqs = {candidate.seq for candidate, _ in runs}
    deleted: dict[int, Run] = {}
    kept = {
        root for root in {candidate.root_seq for candidate, _ in runs} if not _ended(connection, root, before)
    }
    for seq, root_seq in {(candidate.seq, candidate.root_seq) for candidate, _ in runs}:
        row = connection.execute(Q["run_by_seq"], (seq,)).fetchone()
        children = DRIVER.run(connection, select("children_seqs", Child, seqs=[seq]))
        if row is None or any(child.seq not in seqs for child in children):
            kept.add(root_seq)
        else:
            deleted[seq] = to_run(row)
    descendants_deleted: Counter[int] = Counter()
    count = 0
    for candidate, archived in runs:
        if candidate.root_seq in kept:
            continue
        run = deleted[candidate.seq]
        if archived is not None:
            values = (run.conversation_id, run.seq, archived.parts, archived.outcome)
            connection.execute(Q["keep_message"], values)
        note(connection, gone(end_of(run), rolled_up=rolled_up(connection, run.seq)))
        delete_run(connection, run)
        if run.artifact_bytes:
            count_artifact_bytes(connection, run.project_id, -run.artifact_bytes)
        descendants_deleted.update(ancestor for ancestor in run.ancestor_seqs if ancestor not in seqs)
        count += 1
    connection.executemany(Q["count_fewer"], descendants_deleted.items())
    return count


def _ended(connection: sqlite3.Connection, root_seq: int, before: int) -> bool:
    """Whether the family may be deleted."""
    found = DRIVER.run(connection, roots(before, root_seq - 1, 1))
    return bool(found) and found[0].seq == root_seq and found[0].ended
