"""The next runs for workers, for push services and for the deadlines loop. Called in the writer's transactions."""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Container, Sequence
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencySlots, Turn
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.round_robin import SCAN_FACTOR, interleave, needs_probes, probe_sizes
from runstead.core.runs.run import Run, in_queue, large_bytes
from runstead.engines.sql.queue_partitions import (
    PartitionKind,
    needs_target_partitions,
    partitions,
    unlimited_partitions,
)
from runstead.engines.sql.rates import load_tokens, take_tokens
from runstead.engines.sql.turns import find_turns, has_keyed_targets, take_next
from runstead.engines.sqlite.families import cancelling
from runstead.engines.sqlite.related import DRIVER, occupancies
from runstead.engines.sqlite.rows import encode, stored_bytes, to_run, without_packed
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import ClaimRequest

_AGENT: Final = "implementation_kind = ?2 AND coalesce(worker_key, '') = ?3 AND kind = 'agent'"
#: The index of a queue partition, and the condition that its runs meet; ?1 is the project.
_PARTITIONS: Final[dict[PartitionKind, tuple[str, str]]] = {
    "kind": ("runs_queue_kind", "kind = ?2"),
    "target": ("runs_queue_target", "coalesce(target, '') = ?2 AND kind = ?3"),
    "agent": ("runs_queue_agent", _AGENT),
    "agent_target": ("runs_queue_agent_target", f"{_AGENT} AND coalesce(target, '') = ?4"),
    "key": ("runs_queue_key", "target = ?2 AND concurrency_key = ?3"),
}
_PARAMETER: Final = re.compile(r"\?(\d+)")
#: Runs of a cancelled batch are not claimed.
_NOT_CANCELLED: Final = (
    "NOT EXISTS (SELECT 1 FROM batches AS b WHERE b.id = runs.batch_id AND b.project_id = runs.project_id"
    " AND b.cancel_requested_at IS NOT NULL)"
)
_EQUALS: Final[dict[PartitionKind, int]] = {"kind": 1, "target": 2, "agent": 2, "agent_target": 3, "key": 2}


def _head_sql(partition: PartitionKind, *, cancels: bool, pinned: bool) -> str:
    """The seqs at the head of a queue partition. Most of these runs are in the writer's cache.

    `cancels`: the last parameter lists the parts of paths of runs that are being cancelled with an ancestor, as JSON.
    Each distinct priority costs one index probe, and priorities are read only until the page is full.
    """
    index, equal = _PARTITIONS[partition]
    equals, at = _EQUALS[partition], "available_at"
    if pinned:
        index, at = index.replace("_queue_", "_pinned_"), "pinned_available_at"
        equal = _PARAMETER.sub(lambda found: f"?{int(found[1]) + 1}", equal) + " AND worker_version = ?2"
        equals += 1
    now, limit = (f"?{equals + place}" for place in (2, 3))
    top = f"SELECT max(priority) FROM runs INDEXED BY {index} WHERE project_id = ?1 AND {equal}"  # noqa: S608 - generated from our own names
    # Runs with a concurrency key have lower priorities.
    queued = f"AND {at} IS NOT NULL"
    if partition != "key" and not pinned:
        queued += f" AND priority >= {limits.priority_min}"
    parts = f"json_each(?{equals + 4})"
    reached = "instr(runs.path, value) > 0 AND instr(substr(runs.path, instr(runs.path, value)), '~') = 0"
    beside = f" AND NOT EXISTS (SELECT 1 FROM {parts} WHERE {reached})" if cancels else ""  # noqa: S608
    return (
        f"WITH RECURSIVE steps (step) AS ({top} {queued}"  # noqa: S608 - our own names
        f" UNION ALL SELECT ({top} {queued} AND priority < step) FROM steps WHERE step IS NOT NULL)"
        f" SELECT seq FROM steps CROSS JOIN runs INDEXED BY {index}"
        f" WHERE project_id = ?1 AND {equal} AND priority = step AND {at} <= {now} AND {_NOT_CANCELLED}{beside}"
        f" LIMIT {limit}"
    )


#: By the kind of partition, and whether its runs are pinned to a version.
HEADS: Final = {
    (kind, pinned): _head_sql(kind, cancels=False, pinned=pinned)
    for kind in _PARTITIONS
    for pinned in (False, True)
    if kind != "key" or not pinned
}
HEADS_BESIDE_CANCELS: Final = {
    (kind, pinned): _head_sql(kind, cancels=True, pinned=pinned) for kind, pinned in HEADS
}


def claimable_runs(
    connection: sqlite3.Connection, writer: Writer, query: ClaimRequest, now: int
) -> list[Run]:
    """The runs that a claim gets, in order: one short index scan for each queue partition of the worker."""
    project, limit = query.project_id, query.limit
    slots = _slots(connection, writer, project, now)
    heads, beside = HEADS, tuple[str, ...]()
    if cancelled := cancelling(connection, writer.cache):
        heads, beside = HEADS_BESIDE_CANCELS, (encode([f"/{seq}/" for seq in cancelled]).decode(),)
    found: dict[int, Run] = {}
    without_values: set[int] = set()
    size = 0
    if (
        query.version is not None
        and not connection.execute(Q["has_pinned"], (project, query.version)).fetchone()
    ):
        query = replace(query, version=None)  # its queue is empty
    turns: Sequence[Turn] = ()
    if slots is None:
        queues = unlimited_partitions(query)
    else:
        targets: Sequence[str] = query.targets
        if needs_target_partitions(query, slots):
            targets = [name for (name,) in connection.execute(Q["queued_targets"], (project,))]
        keyed = DRIVER.run(connection, find_turns(query, limit, slots, now))
        turns, queues = keyed.turns, (*partitions(query, limit, slots, targets), *keyed.partitions)
    for partition in queues:
        for (seq,) in connection.execute(
            heads[partition.kind, partition.pinned], (project, *partition.equal, now, partition.most, *beside)
        ).fetchall():
            run = writer.cache.numbered(seq)
            if run is None:
                run = _read(connection, writer, seq, values=size <= limits.claim_bytes_max)
                if size > limits.claim_bytes_max:
                    without_values.add(seq)
            size += large_bytes(run)
            found[seq] = run
    if slots is not None:
        fitting = DRIVER.run(connection, take_next(project, found.values(), turns, slots, limit, now))
    else:
        fitting = sorted(found.values(), key=in_queue)[:limit]
    if size > limits.claim_bytes_max:
        fitting = _within_bytes(connection, writer, fitting, without_values)
    if slots is not None:
        DRIVER.run(connection, take_tokens(slots, fitting, now))
    return fitting


def _slots(connection: sqlite3.Connection, writer: Writer, project: str, now: int) -> ConcurrencySlots | None:
    """The free slots and tokens of a project, None for one without limits."""
    if project in writer.cache.without_limits:
        return None
    writer.leave_loop()  # counting running runs may take long
    occupied = occupancies(connection, project, limits.running_max)
    if not occupied and not DRIVER.run(connection, has_keyed_targets(project)):
        writer.cache.without_limits.add(project)
        return None
    slots = ConcurrencySlots.from_occupancies(project, occupied)
    DRIVER.run(connection, load_tokens(slots, now))
    return slots


def _within_bytes(
    connection: sqlite3.Connection, writer: Writer, fitting: Sequence[Run], without_values: Container[int]
) -> list[Run]:
    """The first of these runs with their large values, as many as one claim may return."""
    claimed: list[Run] = []
    size = 0
    for each in fitting:
        run = _read(connection, writer, each.seq) if each.seq in without_values else each
        size += large_bytes(run)
        if claimed and size > limits.claim_bytes_max:
            break
        claimed.append(run)
    return claimed


def _read(connection: sqlite3.Connection, writer: Writer, seq: int, *, values: bool = True) -> Run:
    """The run, without its large values unless they are wanted: decompressing them takes long."""
    row = connection.execute(Q["run_by_seq"], (seq,)).fetchone()
    if stored_bytes(row) > limits.loop_bytes_max:
        writer.leave_loop()
    return to_run(row if values else without_packed(row))


def due_pushes(connection: sqlite3.Connection, now: int, share: FairShare, after: str) -> list[Run]:
    """Runs to dispatch to push services, round robin over projects."""
    limit, busy = share.limit, share.busy
    most = limit * SCAN_FACTOR
    due = [to_run(row) for row in connection.execute(Q["push_soonest"], (now, most))]
    if len(due) == most:  # there may be more: read the head of each (project, service, target, priority)
        steps = connection.execute(Q["push_steps"], (now, encode(busy).decode())).fetchall()
        for heads in probe_sizes(limit):
            head = [connection.execute(Q["push_head"], (*step, now, heads)) for step in steps]
            due = [to_run(row) for rows in head for row in rows]
            if len(due) >= limit:
                break
    found: dict[str, list[Run]] = defaultdict(list)
    for run in due:
        if run.push_service_id not in busy:
            found[run.project_id].append(run)
    queues = []
    slots_of: dict[str, ConcurrencySlots] = {}
    for project, runs in found.items():
        slots = slots_of[project] = ConcurrencySlots.from_occupancies(
            project, occupancies(connection, project, limits.running_max)
        )
        DRIVER.run(connection, load_tokens(slots, now))
        free = (run for run in sorted(runs, key=in_queue) if slots.take(run))
        queues.append(list(islice(free, share.left(project))))
    due = list(islice(interleave(queues, lambda run: (run.project_id <= after, run.project_id)), limit))
    for project, slots in slots_of.items():
        DRIVER.run(connection, take_tokens(slots, (run for run in due if run.project_id == project), now))
    return due


def due_seqs(connection: sqlite3.Connection, now: int, limit: int) -> list[int]:
    """Seqs of runs whose deadline has passed, round robin over projects."""
    most = limit * SCAN_FACTOR
    rows: Sequence[Any] = connection.execute(Q["due_soonest"], (now, most)).fetchall()
    if needs_probes(rows, most, limit):
        projects = connection.execute(Q["due_projects"], (now,)).fetchall()
        for heads in probe_sizes(limit):
            found = [(name, connection.execute(Q["due_head"], (name, now, heads))) for (name,) in projects]
            rows = [(name, *row) for name, head in found for row in head]
            if len(rows) >= limit:
                break
    by_project: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_project[row[0]].append(row)
    return [seq for *_, seq in islice(interleave(list(by_project.values()), lambda row: row[1:]), limit)]
