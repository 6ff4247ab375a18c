"""What is due of schedules in PostgreSQL: taken by whichever replica looks, and never by two.

What another transaction holds, a schedule or a run that it replaces, is passed over and found again: so nothing here
waits for a row while it holds others, and schedules may be locked before runs.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from runstead.core import limits
from runstead.core.queue.push_service import PushService, choose
from runstead.core.runs.run import Run
from runstead.core.runs.transition import DecideFiring, Due, Fired, Transition
from runstead.core.runs.write_set import cancel_descendants, write_set
from runstead.core.schedules.schedule import Schedule, firing_at, firing_id
from runstead.engines.postgres import schedules
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import services_reaching
from runstead.engines.postgres.rows import columns_of, to_run
from runstead.engines.postgres.sql import Q
from runstead.ports.store import RunKey, Written, WrittenFiring


class _Around(NamedTuple):
    """What lies around the schedules that are held."""

    taken: dict[RunKey, Run]
    running: dict[str, list[Run]]  # by schedule
    families: dict[int, list[Run]]  # what is alive below the runs that may be replaced
    live: set[str]  # conversations
    services: dict[str, list[PushService]]  # by project
    busy: set[str]  # schedules whose runs somebody else holds


async def fire_some(transaction: Transaction, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
    """Schedules whose time has come and that nobody else holds, each decided and written."""
    now = await transaction.moment()
    connection = transaction.connection
    held = await schedules.due(connection, now, limit)
    if not held:
        return []
    draft = Draft()
    around = await _look_around(connection, draft, held, now)
    decided = []
    for schedule in held:
        if schedule.id not in around.busy:
            due = _due(around, schedule, now)
            decided.append((due, decide(due)))
    fresh = [row[0] for row in await connection.fetch(Q["fresh_seqs"], _births(decided))]
    results = []
    for due, fired in decided:
        written = [] if fired.transition is None else [_created(draft, fired.transition, fresh.pop(0), now)]
        written += _cancelled(draft, due, fired, around.families)
        if fired.schedule is not None and fired.schedule is not due.schedule:
            draft.take_schedule(due.schedule, fired.schedule)
        results.append(WrittenFiring(due.schedule, fired, tuple(written)))
    await draft.write(connection)
    for due, fired in decided:
        if fired.schedule is None:
            await schedules.remove(connection, due.schedule)
    return results


def _births(decided: Sequence[tuple[Due, Fired]]) -> int:
    return sum(fired.transition is not None for _, fired in decided)


async def _look_around(connection: Connection, draft: Draft, held: Sequence[Schedule], now: int) -> _Around:
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
    return _Around(taken=taken, running=running, families=families, live=live, services=services, busy=busy)


async def _alive(connection: Connection, held: Sequence[Schedule]) -> dict[str, list[Run]]:
    asked = [
        (one.id, limits.schedule_replaced_runs_max if one.concurrency_policy == "Replace" else 1)
        for one in held
        if one.status == "deleting" or one.concurrency_policy != "Allow"
    ]
    running: dict[str, list[Run]] = defaultdict(list)
    if asked:
        for row in await connection.fetch(Q["runs_of_schedules_alive"], *columns_of(asked)):
            running[row[0]].append(to_run(row[1:]))
    return running


async def _hold_replaced(
    connection: Connection, draft: Draft, held: Sequence[Schedule], running: dict[str, list[Run]]
) -> tuple[dict[int, list[Run]], set[str]]:
    """Lock what a firing may replace, and all below it: run → its family. And the schedules where somebody else holds
    a part of that. Once the top of a family is held, nobody adds to it.
    """
    replacing = [one.id for one in held if one.concurrency_policy == "Replace" and running[one.id]]
    tops = {run.seq: name for name in replacing for run in running[name]}
    if not tops:
        return {}, set()
    locked = {run.seq: run for run in draft.lock(await connection.fetch(Q["lock_free_runs"], list(tops)))}
    busy = {name for seq, name in tops.items() if seq not in locked}
    roots = [(run.seq, run.root_seq) for run in locked.values()]
    below = await connection.fetch(Q["families_alive"], *columns_of(roots)) if roots else []
    members = {row[1] for row in below} - locked.keys()
    if members:
        locked |= {
            run.seq: run for run in draft.lock(await connection.fetch(Q["lock_free_runs"], list(members)))
        }
    families: dict[int, list[Run]] = defaultdict(list)
    for top, member in below:
        if member in locked:
            families[top].append(locked[member])
        else:
            busy.add(tops[top])
    for name in replacing:
        running[name] = [locked[run.seq] for run in running[name] if run.seq in locked]
        running[name] = [run for run in running[name] if not run.terminal]
    return families, busy


def _due(around: _Around, schedule: Schedule, now: int) -> Due:
    at = firing_at(schedule, now)
    run = None if at is None else around.taken.get(RunKey(schedule.project_id, firing_id(schedule, at)))
    service = None
    if schedule.target_kind == "agent":
        service = choose(around.services[schedule.project_id], schedule.target_id)
    return Due(
        now=now,
        schedule=schedule,
        run=run,
        running=tuple(around.running[schedule.id]) if schedule.id in around.running else (),
        conversation_live=schedule.conversation_id is None or schedule.conversation_id in around.live,
        push_service_id=None if service is None else service.id,
    )


def _created(draft: Draft, transition: Transition, seq: int, now: int) -> Written:
    write = write_set(None, transition, now, seq)
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
