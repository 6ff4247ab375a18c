"""Due schedules in PostgreSQL. Each schedule is taken by one replica.

A schedule or a replaced run that another transaction has locked is skipped and found again later. So nothing here waits
for a row while it holds others, and schedules may be locked before runs. It waits only for the keys of runs, before it
locks anything else.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from runstead.core.queue.push_service import PushService, choose
from runstead.core.runs.flow import KeyedRuns, WantedKeys, wanted_keys
from runstead.core.runs.run import Run
from runstead.core.runs.transition import DecideFiring, Due, Fired, Transition
from runstead.core.runs.write_set import cancel_descendants, write_set
from runstead.core.schedules.schedule import Schedule, firing_at, firing_id
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.settled import with_all_settled
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.keys import KeyHolders, lock_keys
from runstead.engines.postgres.related import (
    delete_schedule,
    due_schedules,
    due_schedules_with_keys,
    services_reaching,
)
from runstead.engines.postgres.rows import columns_of, to_run
from runstead.engines.postgres.sql import Q
from runstead.ports.store import RunKey, Written, WrittenFiring


class _Related(NamedTuple):
    """What belongs to the locked schedules."""

    taken: dict[RunKey, Run]
    running: dict[str, list[Run]]  # by schedule
    families: dict[int, list[Run]]  # the active descendants of runs that may be replaced
    live: set[str]  # conversations
    services: dict[str, list[PushService]]  # by project
    busy: set[str]  # schedules whose runs another transaction has locked


async def fire_some(transaction: Transaction, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
    """Decide and write schedules that are due and that no other transaction has locked."""
    now = await transaction.moment()
    connection = transaction.connection
    peeked = await due_schedules_with_keys(connection, now, limit)
    keys = await lock_keys(connection, [(one.project_id, _wanted(one)) for one in peeked])
    held = await due_schedules(connection, now, limit)
    if not held:
        return []
    draft = Draft()
    await _lock_holders(connection, draft, keys)
    related = await _load_related(connection, draft, held, now)
    seqs = deque(row[0] for row in await connection.fetch(Q["fresh_seqs"], len(held)))
    results = []
    for schedule in held:
        wanted = _wanted(schedule)
        # One that has just become due, or has other keys than a moment ago, is left for the next call.
        if schedule.id in related.busy or not keys.cover(schedule.project_id, wanted):
            continue
        due = _due(related, schedule, now, keys.runs(schedule.project_id, wanted, draft.find))
        fired = decide(due)
        written = []
        if fired.transition is not None:
            written.append(_written(draft, due, fired.transition, seqs))
            keys.note(written[0].run)
        written += _cancelled(draft, due, fired, related.families)
        if fired.schedule is not None and fired.schedule is not due.schedule:
            draft.take_schedule(due.schedule, fired.schedule)
        results.append(WrittenFiring(due.schedule, fired, tuple(written)))
    await draft.write(connection)
    results = [replace(each, written=tuple(with_all_settled(each.written, draft))) for each in results]
    for each in results:
        if each.fired.schedule is None:
            await delete_schedule(connection, each.schedule)
    return results


def _wanted(schedule: Schedule) -> WantedKeys | None:
    return wanted_keys(schedule.flow_control, schedule.target)


async def _lock_holders(connection: Connection, draft: Draft, keys: KeyHolders) -> None:
    """Lock the runs that hold the keys. The key of a run that another transaction has locked counts as not locked."""
    names = keys.names
    if names:
        ids = [(name.run_id, name.project_id) for name in names]
        seqs = [to_run(row).seq for row in await connection.fetch(Q["runs_by_keys"], *columns_of(ids))]
        draft.lock(await connection.fetch(Q["lock_free_runs"], seqs))
        keys.leave({name for name in names if draft.find(name) is None})


async def _load_related(connection: Connection, draft: Draft, held: Sequence[Schedule], now: int) -> _Related:
    ids = [(firing_id(one, at), one.project_id) for one in held if (at := firing_at(one, now)) is not None]
    found = await connection.fetch(Q["runs_by_keys"], *columns_of(ids)) if ids else []
    taken = {RunKey(run.project_id, run.run_id): run for run in map(to_run, found)}
    running = await _alive(connection, held)
    families, busy = await _hold_replaced(connection, draft, held, running)
    places = [one.conversation_id for one in held if one.conversation_id is not None]
    live = {row[0] for row in await connection.fetch(Q["live_conversations"], places)} if places else set()
    services = {}
    for project_id in {one.project_id for one in held if one.target_kind == "agent"}:
        services[project_id] = await services_reaching(connection, [project_id], now)
    return _Related(taken=taken, running=running, families=families, live=live, services=services, busy=busy)


async def _alive(connection: Connection, held: Sequence[Schedule]) -> dict[str, list[Run]]:
    asked = [(schedule.id, schedule.runs_looked_at) for schedule in held if schedule.runs_looked_at]
    running: dict[str, list[Run]] = defaultdict(list)
    if asked:
        for row in await connection.fetch(Q["active_runs_of_schedules"], *columns_of(asked)):
            running[row[0]].append(to_run(row[1:]))
    return running


async def _hold_replaced(
    connection: Connection, draft: Draft, held: Sequence[Schedule], running: dict[str, list[Run]]
) -> tuple[dict[int, list[Run]], set[str]]:
    """Lock the runs that a firing may replace, with their descendants.

    Returns run → its descendants, and the schedules of which another transaction has locked a part. No child can be added
    to a run that is locked.
    """
    replacing = [one.id for one in held if one.concurrency_policy == "Replace" and running[one.id]]
    tops = {run.seq: name for name in replacing for run in running[name]}
    if not tops:
        return {}, set()
    locked = {run.seq: run for run in draft.lock(await connection.fetch(Q["lock_free_runs"], list(tops)))}
    busy = {name for seq, name in tops.items() if seq not in locked}
    roots = [(run.seq, run.root_seq) for run in locked.values()]
    descendants = await connection.fetch(Q["active_families"], *columns_of(roots)) if roots else []
    members = {row[1] for row in descendants} - locked.keys()
    if members:
        locked |= {
            run.seq: run for run in draft.lock(await connection.fetch(Q["lock_free_runs"], list(members)))
        }
    families: dict[int, list[Run]] = defaultdict(list)
    for top, member in descendants:
        if member in locked:
            families[top].append(locked[member])
        else:
            busy.add(tops[top])
    for name in replacing:
        running[name] = [locked[run.seq] for run in running[name] if run.seq in locked]
        running[name] = [run for run in running[name] if not run.terminal]
    return families, busy


def _due(related: _Related, schedule: Schedule, now: int, keyed: KeyedRuns) -> Due:
    at = firing_at(schedule, now)
    run = None if at is None else related.taken.get(RunKey(schedule.project_id, firing_id(schedule, at)))
    service = None
    if schedule.target_kind == "agent":
        service = choose(related.services[schedule.project_id], schedule.target_id)
    return Due(
        now=now,
        schedule=schedule,
        run=run,
        running=tuple(related.running[schedule.id]) if schedule.id in related.running else (),
        conversation_live=schedule.conversation_id is None or schedule.conversation_id in related.live,
        push_service_id=None if service is None else service.id,
        keyed=keyed,
    )


def _written(draft: Draft, due: Due, transition: Transition, seqs: deque[int]) -> Written:
    before = due.before(transition)
    write = write_set(before, transition, due.now, seqs.popleft() if before is None else 0)
    draft.take([write])
    return Written.of(write)


def _cancelled(draft: Draft, due: Due, fired: Fired, families: dict[int, list[Run]]) -> list[Written]:
    written = []
    for run, transition in zip(due.running, fired.cancels, strict=bool(fired.cancels)):
        write = write_set(run, transition, due.now)
        descendants = cancel_descendants(write, families.get(run.seq, ()))
        draft.take([write, *descendants])
        written.append(Written.of(write, descendants))
    return written
