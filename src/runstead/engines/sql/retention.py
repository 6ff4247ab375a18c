"""Retention: which runs may be deleted. Each engine deletes them in its own way."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.runs.run import RunStatus
from runstead.engines.sql.steps import Database, Steps, now, select, select_rows
from runstead.ports.store import RetentionCandidate, RetentionPage


class Root(NamedTuple):
    """The root of a family. `ended`: the family may be deleted. `descendants`: how many runs it has beside the root."""

    seq: int
    created_at: int
    ended: bool
    descendants: int


class SqlRetention:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def candidates(self, age_ms: int, after: int, limit: int) -> RetentionPage:
        def candidates() -> Steps[RetentionPage]:
            before = (yield from now()) - age_ms
            return (yield from _candidates(before, after, limit))

        return await self._database.scan(candidates)


def roots(before: int, after: int, limit: int) -> Steps[list[Root]]:
    """Roots with a seq greater than `after`, oldest first. `ended` refers to the time `before`, in ms."""
    return (yield from select("retention_roots", Root, before=before, after=after, limit=limit))


def _candidates(before: int, after: int, limit: int) -> Steps[RetentionPage]:
    found: list[RetentionCandidate] = []
    checked = yield from roots(before, after, limits.retention_roots_checked_max)
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
    more = len(checked) == limits.retention_roots_checked_max
    return RetentionPage(found, checked[-1].seq if more else None)


def _candidate(root_seq: int, row: Mapping[str, Any]) -> RetentionCandidate:
    run = {**row, "status": RunStatus(row["status"])}
    message = MessageRun(**run) if run.pop("has_message") else None
    return RetentionCandidate(row["seq"], root_seq, message)
