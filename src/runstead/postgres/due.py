"""What is due: runs for the referee and for push services, taken by whichever replica looks, and never by two."""

from collections.abc import Sequence

from runstead.postgres.draft import Draft, check
from runstead.postgres.push_services import services_reaching
from runstead.postgres.sql import Q
from runstead.postgres.transaction import Transaction
from runstead.push_service import PushService
from runstead.run import Run
from runstead.store import DecideOne, DecidePush, Written
from runstead.transition import Transition


async def referee_some(transaction: Transaction, limit: int, decide: DecideOne) -> list[Written]:
    """Runs whose time is up and that nobody else holds, each decided and written."""
    now = await transaction.moment()
    rows = await transaction.connection.fetch(Q["due"], now, limit)
    draft = Draft()
    draft.lock(rows)
    decided: list[tuple[int, Transition, Run]] = []
    for seq in list(draft.runs):
        run = draft.runs[seq]  # the ones before it may have moved its counters
        at = max(now, run.updated_at)
        change = check(run, decide(run, at), seq)
        assert not change.transition.cancels_family or change.new is run
        draft.take([change], at)
        decided.append((seq, change.transition, run))
    await draft.write(transaction.connection)
    return [Written(draft.runs[seq], transition, before=before) for seq, transition, before in decided]


async def dispatch_some(
    transaction: Transaction, limit: int, busy: Sequence[str], decide: DecidePush
) -> list[Run]:
    """Runs that are due to be pushed and that nobody else holds, each decided and written."""
    now = await transaction.moment()
    rows = await transaction.connection.fetch(Q["due_pushes"], now, list(busy), limit)
    draft = Draft()
    draft.lock(rows)
    services: dict[str, list[PushService]] = {}
    seqs = list(draft.runs)
    for seq in seqs:
        run = draft.runs[seq]
        at = max(now, run.updated_at)
        if run.project_id not in services:
            services[run.project_id] = await services_reaching(transaction.connection, [run.project_id], at)
        change = check(run, decide(run, at, services[run.project_id]), seq)
        assert not change.transition.cancels_family or change.new is run
        draft.take([change], at)
    await draft.write(transaction.connection)
    return [draft.runs[seq] for seq in seqs]
