"""Due runs for the deadlines loop and for push services. Each run is taken by one replica."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Any

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.push_service import PushService
from runstead.core.queue.round_robin import SCAN_FACTOR, interleave, needs_probes, probe_sizes
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.write_set import write_set
from runstead.engines.postgres.commit.budgets import Ledgers
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.settled import lock_next, release_after
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import lock_slots, services_reaching, take_tokens_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.budgets import held_back
from runstead.ports.store import DecideOne, DecidePush, Written


async def enforce_some(transaction: Transaction, limit: int, decide: DecideOne) -> list[Written]:
    """Decide and write runs whose deadline has passed and that no other transaction has locked."""
    now = await transaction.moment()
    by_project: dict[str, list[Any]] = defaultdict(list)
    # More than are taken: other replicas may have locked some.
    most = limit * SCAN_FACTOR
    rows = await transaction.connection.fetch(Q["due_soonest"], now, most)
    if needs_probes(rows, most, limit):
        for heads in probe_sizes(most):
            rows = await transaction.connection.fetch(Q["due_heads"], now, heads)
            if len(rows) >= most:
                break
    for row in rows:
        by_project[row["project_id"]].append(row)
    ordered = interleave(list(by_project.values()), lambda row: (row["due_at"], row["seq"]))
    seqs = [row["seq"] for row in islice(ordered, most)]
    if not seqs:
        return []
    draft = Draft()
    draft.lock(await transaction.connection.fetch(Q["lock_due"], seqs, now, limit))
    decided: list[tuple[int, Transition, Run]] = []
    for seq in list(draft.runs):
        run = draft.runs[seq]  # earlier ones may have moved its counters
        at = max(now, run.updated_at)
        write = write_set(run, decide(run, at), at)
        assert not write.cancels_family
        if write.ends_compensation and not await lock_next(transaction.connection, draft, run, waits=False):
            continue  # it stays due
        draft.take([write])
        if write.ends_compensation:
            await release_after(transaction.connection, draft, write)
        decided.append((seq, write.transition, run))
    await draft.write(transaction.connection)
    return [
        Written(draft.runs[seq], transition, before=before, compensations=tuple(draft.settled.get(seq, ())))
        for seq, transition, before in decided
    ]


async def dispatch_some(
    transaction: Transaction, share: FairShare, decide: DecidePush, after: str
) -> list[Run]:
    """Decide and write runs that are due for a push service and that no other transaction has locked."""
    seqs, slots = await _round_robin(transaction, share, after)
    if not seqs:
        return []
    now = transaction.now
    draft = Draft()
    draft.lock(await transaction.connection.fetch(Q["lock_pushes"], seqs, now, share.limit))
    ledgers = await _budgets(transaction, list(draft.runs.values()), now)
    services: dict[str, list[PushService]] = {}
    locked = list(draft.runs)
    await take_tokens_of(transaction, slots, [draft.runs[seq] for seq in locked])
    for seq in locked:
        run = draft.runs[seq]
        at = max(now, run.updated_at)
        if run.project_id not in services:
            services[run.project_id] = await services_reaching(transaction.connection, [run.project_id], at)
        ledger = ledgers.ledger(run.project_id)
        write = write_set(run, held_back(run, ledger) or decide(run, at, services[run.project_id]), at)
        assert not (write.cancels_family and run.descendants_active)
        draft.take([write])
    await draft.write(transaction.connection)
    return [draft.runs[seq] for seq in locked]


async def _budgets(transaction: Transaction, runs: Sequence[Run], now: int) -> Ledgers:
    """The budgets of runs that would be dispatched, of projects that have any."""
    ledgers, connection = Ledgers(), transaction.connection
    projects = list({run.project_id for run in runs})
    budgeted = {row[0] for row in await connection.fetch(Q["budgeted_projects"], projects)}
    await ledgers.load(connection, [run for run in runs if run.project_id in budgeted], now)
    return ledgers


async def _round_robin(
    transaction: Transaction, share: FairShare, after: str
) -> tuple[list[int], ConcurrencySlots]:
    """Seqs of runs to dispatch, in their order, and the slots that were free before."""
    limit, busy = share.limit * SCAN_FACTOR, share.busy  # some may be locked by others
    now = await transaction.moment()
    rows = await _due_pushes(transaction.connection, now, limit, busy)
    limited = {row["project_id"] for row in rows if row["limited"]}
    slots = await lock_slots(transaction, sorted(limited))
    if limited:  # another transaction may have taken some while it held the lock
        rows = await _due_pushes(transaction.connection, now, limit, busy)
    queues: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if not row["limited"] or row["project_id"] in limited:
            queues[row["project_id"]].append(row)
    queues_of_projects = []
    for project, found in queues.items():
        found.sort(key=lambda row: (-row["priority"], row["available_at"], row["seq"]))
        free = (row for row in found if slots.take_slot(project, row["target"] or None))
        queues_of_projects.append(list(islice(free, share.left(project))))
    ordered = interleave(queues_of_projects, lambda row: (row["project_id"] <= after, row["project_id"]))
    return [row["seq"] for row in islice(ordered, limit)], slots


async def _due_pushes(connection: Connection, now: int, limit: int, busy: Sequence[str]) -> list[Any]:
    """Due runs; if there are more than one page, the heads of each (project, service, target, priority)."""
    most = limit * SCAN_FACTOR
    rows: list[Any] = await connection.fetch(Q["push_soonest"], now, most)
    if len(rows) == most:
        for heads in probe_sizes(limit):
            rows = await connection.fetch(Q["push_heads"], now, list(busy), heads)
            if len(rows) >= limit:
                break
    return [row for row in rows if row["push_service_id"] not in busy]
