"""Which runs come next: for workers, for push services and for the referee. Called in the writer thread."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from runstead import limits
from runstead.concurrency import Rooms
from runstead.run import Run, in_queue
from runstead.sqlite.concurrency import occupancies
from runstead.sqlite.rows import encode, to_run
from runstead.sqlite.sql import COLUMNS, Q
from runstead.store import ClaimQuery
from runstead.turns import in_turns

#: A line is a queue of which every run fits: its index, and what is equal in it, ?1 being the project.
_LINES: Final = {
    "kind": ("runs_queue_kind", "kind = ?2"),
    "target": ("runs_queue_target", "coalesce(target, '') = ?2 AND kind = ?3"),
    "agent": (
        "runs_queue_agent",
        "implementation_kind = ?2 AND coalesce(worker_key, '') = ?3 AND kind = 'agent'",
    ),
    "agent_target": (
        "runs_queue_agent_target",
        "implementation_kind = ?2 AND coalesce(worker_key, '') = ?3 AND coalesce(target, '') = ?4"
        " AND kind = 'agent'",
    ),
}
_EQUALS: Final = {"kind": 1, "target": 2, "agent": 2, "agent_target": 3}


def _head_sql(line: str) -> str:
    """The head of a line. From one priority that there is to the next is one look into the index, and each of them is
    read only until the page is full.
    """
    index, equal = _LINES[line]
    now, limit = (f"?{_EQUALS[line] + place}" for place in (2, 3))
    top = f"SELECT max(priority) FROM runs INDEXED BY {index} WHERE project_id = ?1 AND {equal}"  # noqa: S608
    queued = "AND available_at IS NOT NULL"
    return (
        f"WITH RECURSIVE steps (step) AS ({top} {queued}"  # noqa: S608 - our own names
        f" UNION ALL SELECT ({top} {queued} AND priority < step) FROM steps WHERE step IS NOT NULL)"
        f" SELECT {COLUMNS} FROM steps CROSS JOIN runs INDEXED BY {index}"
        f" WHERE project_id = ?1 AND {equal} AND priority = step AND available_at <= {now} LIMIT {limit}"
    )


HEADS: Final = {line: _head_sql(line) for line in _LINES}


def claimable_runs(connection: sqlite3.Connection, query: ClaimQuery, now: int) -> list[Run]:
    """The runs that a claim gets, in order: one short index scan for each line that the worker takes from."""
    project, limit = query.project_id, query.limit
    rooms = Rooms.beside(project, occupancies(connection, project, limits.running_max))
    found: dict[int, Run] = {}
    for line, equal, most in _lines(connection, query, rooms):
        for row in connection.execute(HEADS[line], (project, *equal, now, most)):
            run = to_run(row)
            found[run.seq] = run
    fitting = (run for run in sorted(found.values(), key=in_queue) if rooms.take(run))
    return list(islice(fitting, limit))


def _lines(
    connection: sqlite3.Connection, query: ClaimQuery, rooms: Rooms
) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """(line, what is equal in it, how many to read). Lines that have no room are left out."""
    project = query.project_id
    room = rooms.of_project(project)
    most = query.limit if room is None else min(query.limit, room)
    if most == 0:
        return
    targets: Sequence[str] = query.targets
    if not targets and rooms.has_targets(project):
        # Apart by target: a target without room must not stand before the others.
        targets = [name for (name,) in connection.execute(Q["queued_targets"], (project,))]
        if not targets:
            return
    rooms_left = [(target, rooms.left(project, target or None)) for target in targets]
    open_targets = [(target, most if left is None else min(most, left)) for target, left in rooms_left if left != 0]
    for kind in query.kinds:
        if kind == "agent":
            for key in {"", query.worker_key or ""} if query.implementation_kind is not None else ():
                mine = (query.implementation_kind or "", key)
                if targets:
                    yield from (("agent_target", (*mine, target), least) for target, least in open_targets)
                else:
                    yield "agent", mine, most
        elif targets:
            yield from (("target", (target, kind), least) for target, least in open_targets)
        else:
            yield "kind", (kind,), most


def due_pushes(
    connection: sqlite3.Connection, now: int, limit: int, busy: Sequence[str], after: str
) -> list[Run]:
    """Runs to be pushed, projects in turn."""
    found: dict[str, list[Run]] = defaultdict(list)
    for step in connection.execute(Q["push_steps"], (now, encode(busy).decode())).fetchall():
        found[step[0]] += map(to_run, connection.execute(Q["push_head"], (*step, now, limit)))
    lines = []
    for project, runs in found.items():
        rooms = Rooms.beside(project, occupancies(connection, project, limits.running_max))
        lines.append([run for run in sorted(runs, key=in_queue) if rooms.take(run)])
    return list(islice(in_turns(lines, lambda run: (run.project_id <= after, run.project_id)), limit))


def due_seqs(connection: sqlite3.Connection, now: int, limit: int) -> list[int]:
    """Runs whose deadline has passed, projects in turn."""
    lines: list[list[Any]] = [
        connection.execute(Q["due_head"], (project, now, limit)).fetchall()
        for (project,) in connection.execute(Q["due_projects"], (now,)).fetchall()
    ]
    return [seq for _, seq in islice(in_turns(lines, lambda head: head), limit)]
