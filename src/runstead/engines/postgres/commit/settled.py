"""Compensations of runs that end in a transaction: the next of a chain is queued, and results count the new ones."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.write_set import WriteSet, release_next
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.lanes import Outcome
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q
from runstead.ports.store import Written


async def lock_next(connection: Connection, draft: Draft, run: Run, *, waits: bool) -> bool:
    """Lock the compensations that come after this one, in the order of seq, before its end is decided.

    Without `waits`, False if another transaction has locked one of them.
    """
    active = [row[0] for row in await connection.fetch(Q["active_compensations"], run.parent_seq)]
    wanted = [seq for seq in active if seq > run.seq and seq not in draft.runs]
    if not wanted:
        return True
    found = await connection.fetch(Q["lock_compensations" if waits else "lock_free_runs"], wanted)
    draft.lock(found)
    return len(found) == len(wanted)


async def release_after(connection: Connection, draft: Draft, ended: WriteSet) -> None:
    """Queue the next compensation, whose row is locked, after one that ends."""
    for (seq,) in await connection.fetch(Q["active_compensations"], ended.run.parent_seq):
        first = draft.runs.get(seq)
        if seq != ended.run.seq and (first is None or not first.terminal):
            released = release_next(
                ended, first
            )  # one that comes before this one is not locked, and not held
            if released is not None:
                draft.take_released(ended.run.seq, released)
            return


def counted(write: WriteSet, written: Written) -> Written:
    """Return the result with the compensations counted that are created when the draft is written."""
    if not write.ends_compensations or write.run.status is RunStatus.COMPLETED:
        return written
    assert write.before is not None
    run, new = written.run, write.before.compensations or 0
    total, active = run.descendants_total + new, run.descendants_active + new
    return replace(written, run=replace(run, descendants_total=total, descendants_active=active))


def with_settled(outcome: Outcome, draft: Draft) -> Outcome:
    """Return the outcome with the compensations that its command created or queued. All others stay the same object,
    since ALONE and LOCKED are recognized by identity.
    """
    result, _ = outcome
    if not isinstance(result, Written) or result.run.seq not in draft.settled:
        return outcome
    before = result.before
    if before is None or before.terminal or not result.run.terminal:
        return outcome  # of another command on the same run
    return replace(result, compensations=tuple(draft.settled[result.run.seq])), None


def with_all_settled(written: Sequence[Written], draft: Draft) -> list[Written]:
    """Return the results of cancels, each with the compensations of its run and of its cancelled descendants."""
    if not draft.settled:
        return list(written)
    return [
        each.beside([run for one in (each.run, *each.cancelled) for run in draft.settled.get(one.seq, ())])
        for each in written
    ]
