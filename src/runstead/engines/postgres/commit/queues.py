"""The runs that the claims of one transaction may take: locked, in order, within the limits."""

from collections import deque
from collections.abc import Container, Mapping, Sequence
from typing import Any

import asyncpg

from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.core.runs.run import Run, in_queue
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.claims import claim_sql
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER, lock_slots, take_tokens_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.queue_partitions import QueuePartition, needs_target_partitions, partitions
from runstead.engines.sql.steps import size_of
from runstead.engines.sql.turns import find_turns, take_next
from runstead.ports.store import ClaimRequest, RunKey


class ClaimQueues:
    """`of`: claim request → the seqs of the locked runs, without the `named` ones, which other commands use."""

    def __init__(self, transaction: Transaction, draft: Draft, named: Container[RunKey]) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._draft = draft
        self._named = named
        self._limited: Sequence[str] = ()  # projects with concurrency limits or keys
        self.slots = ConcurrencySlots()
        self.of: dict[ClaimRequest, deque[int]] = {}

    async def lock_slots(self, limited: Sequence[str]) -> None:
        """Lock the slots of projects with limits or keys. It comes before the locks of budgets."""
        self._limited = limited
        self.slots = await lock_slots(self._transaction, limited)

    async def lock(self, wanted: Mapping[ClaimRequest, int]) -> None:
        """Lock the next runs for all claims. `wanted`: request → how many runs all its claims want."""
        for query, limit in wanted.items():
            await self._lock_queue(query, limit)

    def queued(self, project_ids: Container[str]) -> list[Run]:
        """The locked runs that claims of these projects may take."""
        chosen = [seqs for query, seqs in self.of.items() if query.project_id in project_ids]
        return [self._draft.runs[seq] for seqs in chosen for seq in seqs]

    async def _lock_queue(self, query: ClaimRequest, limit: int) -> None:
        project, targets = query.project_id, query.targets
        if needs_target_partitions(query, self.slots):
            found = await self._connection.fetch(Q["queued_targets"], project)
            targets = tuple(row[0] for row in found)
        runs = await self._heads(query, limit, list(partitions(query, limit, self.slots, targets)))
        if project not in self._limited:
            self.of[query] = deque(run.seq for run in sorted(runs, key=in_queue))
            return
        # With limits, no other transaction claims in the project at the same time.
        now = self._transaction.now
        keyed = await DRIVER.run(self._connection, find_turns(query, limit, self.slots, now))
        runs += await self._heads(query, sum(each.most for each in keyed.partitions), keyed.partitions)
        taken = await DRIVER.run(
            self._connection, take_next(project, runs, keyed.turns, self.slots, limit, now)
        )
        await take_tokens_of(self._transaction, self.slots, taken)
        self.of[query] = deque(run.seq for run in taken)

    async def _heads(self, query: ClaimRequest, limit: int, chosen: Sequence[QueuePartition]) -> list[Run]:
        if not chosen:
            return []
        sql, arguments = claim_sql(chosen)
        project, used = query.project_id, list(self._draft.runs)
        spare = 0 if project in self._limited else session_limits.batch_commands_max
        rows = await claimed_rows(
            self._connection, sql, self._transaction.now, project, limit, used, spare, *arguments
        )
        # A run that a command names, stored after the names were looked up, is left for the next claim.
        return self._draft.lock(
            row for row in rows if RunKey(row["project_id"], row["run_id"]) not in self._named
        )


async def claimed_rows(
    connection: Connection, sql: str, now: int | None, project: str, limit: int, *arguments: Any
) -> list[asyncpg.Record]:
    """The locked rows of a claim: at most `limits.claim_bytes_max` of values, but one row at least."""
    given = (now, project, limit, *arguments)
    if limit <= limits.claim_rows_unmeasured_max:
        return await connection.fetch(sql, *given)  # type: ignore[no-any-return]
    cursor = await connection.cursor(sql, *given)
    rows: list[asyncpg.Record] = []
    size, count = 0, limits.claim_rows_unmeasured_max
    while size <= limits.claim_bytes_max and (found := await cursor.fetch(count)):
        rows += found
        size += sum(map(size_of, found))
        count = max(1, (limits.claim_bytes_max - size) * len(rows) // max(size, 1))
    return rows
