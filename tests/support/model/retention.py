"""Old families leave the memory."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.runs.run import Run
from runstead.ports.store import Archived, Retention, RetentionCandidate, RetentionPage
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows


class ModelRetention(Retention):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows

    async def candidates(self, age_ms: int, after: int, limit: int) -> RetentionPage:
        before = self._journal.now() - age_ms
        young = (run for run in self._rows.runs.values() if run.parent_seq is None and run.seq > after)
        roots = list(islice(young, limits.retention_roots_checked_max))
        found: list[RetentionCandidate] = []
        for root in roots:
            if root.created_at >= before:
                return RetentionPage(found, None)
            if not _over(root, before):
                continue
            members = sorted(self._rows.family(root.seq), key=lambda run: -run.seq)
            fit = members[: limit - len(found)]
            found += [RetentionCandidate(run.seq, root.seq, self._message(run)) for run in fit]
            if len(found) == limit:
                return RetentionPage(found, root.seq - (len(fit) < len(members)))
        return RetentionPage(
            found, roots[-1].seq if len(roots) == limits.retention_roots_checked_max else None
        )

    def _message(self, run: Run) -> MessageRun | None:
        conversation = self._rows.conversations.get(run.conversation_id or "")
        if conversation is None or conversation.status == "deleted":
            return None
        if not any(message.run_seq == run.seq for message in self._rows.messages[conversation.id]):
            return None
        told = (run.seq, run.run_id, run.status, run.latest_event_id, run.updated_at, run.metadata)
        return MessageRun(*told)

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        def plan(now: int) -> tuple[int, Effect]:
            before, rows = now - age_ms, self._rows
            named = {doomed.seq for doomed, _ in runs}
            kept = set()
            for doomed, _ in runs:
                root = rows.runs.get(doomed.root_seq)
                children = {child.seq for child in rows.children(doomed.seq)}
                if (
                    root is None
                    or not _over(root, before)
                    or not children <= named
                    or doomed.seq not in rows.runs
                ):
                    kept.add(doomed.root_seq)
            leaving = [(doomed, left) for doomed, left in runs if doomed.root_seq not in kept]

            def effect() -> None:
                for doomed, left in sorted(leaving, key=lambda one: -one[0].seq):
                    self._remove(rows.runs[doomed.seq], left)

            return len(leaving), effect

        return self._journal.write(None, plan)

    def _remove(self, run: Run, left: Archived | None) -> None:
        rows = self._rows
        if left is not None and run.conversation_id is not None:
            rows.messages[run.conversation_id] = [
                replace(message, run_seq=None, parts=left.parts, outcome=left.outcome)
                if message.run_seq == run.seq
                else message
                for message in rows.messages[run.conversation_id]
            ]
        rows.remove(run)
        for seq in map(int, run.path.strip("/").split("/") if run.path != "/" else ()):
            above = rows.runs[seq]
            rows.put(replace(above, descendants_total=above.descendants_total - 1))

    async def sweep(self, age_ms: int) -> int:  # noqa: ARG002 - all is gone at once
        return 0


def _over(root: Run, before: int) -> bool:
    """Whether the family of a root may leave."""
    return (
        root.completed_at is not None
        and root.completed_at < before
        and root.descendants_active == 0
        and root.due_at is None
    )
