"""Retention: which runs may be deleted, and their deletion."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.runs.run import RunStatus, seqs_of
from runstead.engines.sql.conversations import Child
from runstead.engines.sql.messages import delete_message
from runstead.engines.sql.methods import SqlNoun, command, scan
from runstead.engines.sql.steps import Call, Database, Steps, execute, execute_many, now, select, select_rows
from runstead.ports.store import Archived, RetentionCandidate, RetentionPage


class _Root(NamedTuple):
    """The root of a family. `ended`: the family may be deleted. `descendants`: how many runs it has beside the root."""

    seq: int
    created_at: int
    ended: bool
    descendants: int


class SqlRetention(SqlNoun):
    def __init__(self, database: Database, delete_runs: Callable[..., Any]) -> None:
        """`delete_runs(connection, seqs)` deletes runs with what belongs to them, in the transaction of the connection,
        and notes them for the roll-ups.
        """
        super().__init__(database)
        self._delete_runs = delete_runs

    @scan
    def candidates(self, age_ms: int, after: int, limit: int) -> Steps[RetentionPage]:
        before = (yield from now()) - age_ms
        return (yield from _candidates(before, after, limit))

    @command
    def retire(
        self, time: int, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]
    ) -> Steps[int]:
        """Lock order as everywhere: runs by seq, conversations, counters."""
        given = {candidate.seq: candidate.root_seq for candidate, _ in runs}
        wanted = sorted(given.keys() | set(given.values()))
        rows = yield from select_rows("lock_retired", seqs=wanted, before=time - age_ms)
        locked = {row["seq"]: row for row in rows}
        kept = {root for root in given.values() if root not in locked or not locked[root]["ended"]}
        kept |= {root for seq, root in given.items() if seq not in locked}
        children = yield from select("children_seqs", Child, seqs=list(given))
        kept |= {given[child.parent_seq] for child in children if child.seq not in given}
        deleted = {candidate.seq: archived for candidate, archived in runs if candidate.root_seq not in kept}
        if not deleted:
            return 0
        conversations = {seq: locked[seq]["conversation_id"] for seq in sorted(deleted)}
        ids = sorted({one for one in conversations.values() if one is not None})
        yield from select_rows("lock_conversations_of_runs", ids=ids)
        for seq, conversation_id in conversations.items():
            archived = deleted[seq]
            if archived is not None:
                names = {"conversation_id": conversation_id, "run_seq": seq}
                yield from execute("keep_message", archived, **names)
            elif conversation_id is not None:
                yield from delete_message(conversation_id, seq)
        yield Call(self._delete_runs, (list(deleted),))
        ancestors = Counter(
            seq for run in deleted for seq in seqs_of(locked[run]["path"]) if seq not in given
        )
        counts = [{"seq": seq, "count": count} for seq, count in sorted(ancestors.items())]
        yield from execute_many("count_retired_descendants", counts)
        artifact_bytes: Counter[str] = Counter()
        for seq in deleted:
            artifact_bytes[locked[seq]["project_id"]] -= locked[seq]["artifact_bytes"]
        changes = [
            {"project_id": name, "bytes": size} for name, size in sorted(artifact_bytes.items()) if size
        ]
        yield from execute_many("count_artifact_bytes", changes)
        return len(deleted)


def _candidates(before: int, after: int, limit: int) -> Steps[RetentionPage]:
    found: list[RetentionCandidate] = []
    most = limits.retention_roots_checked_max
    checked = yield from select("retention_roots", _Root, before=before, after=after, limit=most)
    for root in checked:
        if root.created_at >= before:
            return RetentionPage(found, None)
        if not root.ended:
            continue
        room = limit - len(found)
        rows = yield from select_rows("retention_family", root_seq=root.seq, limit=room)
        found += [_candidate(root.seq, row) for row in rows]
        if len(found) == limit:
            return RetentionPage(found, root.seq - (room < 1 + root.descendants))
    more = len(checked) == most
    return RetentionPage(found, checked[-1].seq if more else None)


def _candidate(root_seq: int, row: Mapping[str, Any]) -> RetentionCandidate:
    run = {**row, "status": RunStatus(row["status"])}
    message = MessageRun(**run) if run.pop("has_message") else None
    return RetentionCandidate(row["seq"], root_seq, message)
