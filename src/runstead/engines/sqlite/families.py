"""A family's events in one order, and what its runs used.

While a root has no descendants, its own log is the order, and nothing is written beside it. With its first child, its
events so far get their places in `family_log`; from then on every append of the family adds a stretch there.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from runstead.core import limits
from runstead.core.runs.event import FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.usage.usage import FamilyUsage, Reported, RunUsage, tally
from runstead.engines.sql.run_rows import PRIVATE
from runstead.engines.sqlite.rows import to_event
from runstead.engines.sqlite.sql import EVENT_BITS, Q
from runstead.ports.store import FamilyPage


class _Stretch(NamedTuple):
    """Events of one run that follow one another in the family. `run_id` is None for a run that was deleted."""

    start: int
    run_seq: int
    first: int
    last: int
    run_id: str | None
    path: str | None


def note_events(connection: sqlite3.Connection, run: Run, count: int) -> None:
    """Give the run's newest events their places, where it has a family."""
    if run.parent_seq is not None or run.descendants_total:
        latest = run.latest_event_id
        connection.execute(Q["log_family"], (run.root_seq, run.seq, latest - count + 1, latest))


def note_first_child(connection: sqlite3.Connection, parent: Run) -> None:
    """Give the events of a root that was alone so far their places. Before its child is counted."""
    if parent.parent_seq is not None or parent.descendants_total:
        return
    _, logged = _end(connection, parent.seq)
    if parent.latest_event_id > logged:
        values = (parent.seq, parent.seq, logged + 1, parent.latest_event_id)
        connection.execute(Q["log_family"], values)


def page(
    connection: sqlite3.Connection,
    run: Run,
    after: int,
    limit: int,
    bytes_max: int | None,
    types: Sequence[str],
) -> FamilyPage:
    """See `runstead.ports.store.Runs.family_events`."""
    connection.execute("BEGIN")  # all of it from one moment
    try:
        return _page(connection, run, after, limit, bytes_max, frozenset(types))
    finally:
        connection.execute("COMMIT")


def _page(
    connection: sqlite3.Connection,
    run: Run,
    after: int,
    limit: int,
    bytes_max: int | None,
    wanted: frozenset[str],
) -> FamilyPage:
    root_seq = run.root_seq or run.seq
    row = connection.execute(Q["family_active"], (run.seq,)).fetchone()
    ended = row is None or bool(row[0])
    step = None if run.seq == root_seq else f"/{run.seq}/"
    events: list[FamilyEvent] = []
    end, size = 0, 0
    for stretch in _stretches(connection, root_seq, after):
        end = stretch.start + stretch.last - stretch.first
        if end <= after or stretch.run_id is None or stretch.path is None:
            continue
        if step is not None and stretch.run_seq != run.seq and step not in stretch.path:
            continue
        base = stretch.run_seq << EVENT_BITS
        first = stretch.first + max(after + 1 - stretch.start, 0)
        bounds = (base + first - 1, base + stretch.last, PRIVATE, -1)
        for found in connection.execute(Q["events_between"], bounds):
            if wanted and found[1] not in wanted:
                continue
            event = to_event(found)
            size += len(event.payload)
            if len(events) == limit or (events and bytes_max is not None and size > bytes_max):
                return FamilyPage(events, events[-1].position, more=True, ended=ended)
            position = stretch.start + found[0] - stretch.first
            events.append(FamilyEvent(stretch.run_id, position, event))
    # A cursor ahead of the log, which nobody was given, is taken for its end.
    return FamilyPage(events, end, more=False, ended=ended)


def _stretches(connection: sqlite3.Connection, root_seq: int, after: int) -> Iterator[_Stretch]:
    """Those that hold positions over `after`, and perhaps one before; the log's last one in any case."""
    yield from map(_Stretch._make, connection.execute(Q["family_stretches"], (root_seq, after)))
    row = connection.execute(Q["lone_root"], (root_seq,)).fetchone()
    if row is None:
        return
    run_id, latest = row
    end, logged = _end(connection, root_seq)
    if latest > logged:
        yield _Stretch(
            start=end + 1, run_seq=root_seq, first=logged + 1, last=latest, run_id=run_id, path="/"
        )


def _end(connection: sqlite3.Connection, root_seq: int) -> tuple[int, int]:
    """The last position that is noted, and the root's last event that is."""
    row = connection.execute(Q["family_end"], (root_seq,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1] or 0)


def usage(connection: sqlite3.Connection, run: Run) -> FamilyUsage:
    """See `runstead.ports.store.Runs.usage`."""
    root_seq = run.root_seq or run.seq
    rows = connection.execute(Q["usage"], (root_seq, root_seq, limits.name_chars_max))
    return tally(run.seq, map(_usage, rows))


def _usage(row: tuple[Any, ...]) -> RunUsage:
    seq, path, ended, reported, *told = row
    return RunUsage(seq, path, bool(ended), Reported(*told) if reported else None)
