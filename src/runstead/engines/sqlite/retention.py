"""Old families leave the file; the room that they give back is used again."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.runs.run import Run, RunStatus
from runstead.core.usage.rollup import end_of, gone
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rollups import note, rolled_up
from runstead.engines.sqlite.rows import delete_run, to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Archived, RetentionCandidate, RetentionPage


class SqliteRetention:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def candidates(self, age_ms: int, after: int, limit: int) -> RetentionPage:
        before = self._writer.now() - age_ms
        return await self._readers.do(lambda c: _doomed(c, before, after, limit))

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        return await self._writer.do(lambda c, now: _retire(c, now - age_ms, runs))

    async def sweep(self, age_ms: int) -> int:  # noqa: ARG002 - all is gone at once
        return 0


def _doomed(connection: sqlite3.Connection, before: int, after: int, limit: int) -> RetentionPage:
    found: list[RetentionCandidate] = []
    looks = limits.retention_roots_checked_max
    roots = connection.execute(Q["retention_roots"], (after, before, looks)).fetchall()
    for root_seq, created_at, over, below in roots:
        if created_at >= before:
            return RetentionPage(found, None)
        if not over:
            continue
        room = limit - len(found)
        for seq, *told, speaks in connection.execute(Q["retention_family"], (root_seq, room)):
            run_id, status, *others = told
            message = MessageRun(seq, run_id, RunStatus(status), *others) if speaks else None
            found.append(RetentionCandidate(seq, root_seq, message))
        if len(found) == limit:
            return RetentionPage(found, root_seq - (room < 1 + below))
    return RetentionPage(found, roots[-1][0] if len(roots) == looks else None)


def _retire(
    connection: sqlite3.Connection, before: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]
) -> int:
    named = {doomed.seq for doomed, _ in runs}
    leaving: dict[int, Run] = {}
    kept = {root for root in {doomed.root_seq for doomed, _ in runs} if not _over(connection, root, before)}
    for seq, root_seq in {(doomed.seq, doomed.root_seq) for doomed, _ in runs}:
        row = connection.execute(Q["run_by_seq"], (seq,)).fetchone()
        children = {child for _, child in connection.execute(Q["children_seqs"], (f"[{seq}]",))}
        if row is None or not children <= named:
            kept.add(root_seq)
        else:
            leaving[seq] = to_run(row)
    fewer: Counter[int] = Counter()
    count = 0
    for doomed, left in runs:
        if doomed.root_seq in kept:
            continue
        run = leaving[doomed.seq]
        if left is not None:
            values = (run.conversation_id, run.seq, left.parts, left.outcome)
            connection.execute(Q["keep_message"], values)
        note(connection, gone(end_of(run), rolled_up=rolled_up(connection, run.seq)))
        delete_run(connection, run)
        fewer.update(above for above in map(int, filter(None, run.path.split("/"))) if above not in named)
        count += 1
    connection.executemany(Q["count_fewer"], fewer.items())
    return count


def _over(connection: sqlite3.Connection, root_seq: int, before: int) -> bool:
    """Whether the family may leave."""
    row = connection.execute(Q["retention_roots"], (root_seq - 1, before, 1)).fetchone()
    return row is not None and row[0] == root_seq and bool(row[2])
