"""The order of a family's events, and the usage of its runs.

While a root has no descendants, its own log is the order and `family_log` has no rows. Its first child adds the root's
events so far to `family_log`. From then on every append in the family adds a row with the range of its events.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from runstead.core import limits
from runstead.core.runs.event import FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.usage.usage import FamilyUsage, Reported, RunUsage, tally
from runstead.engines.sql.run_rows import PRIVATE
from runstead.engines.sqlite.connection import snapshot
from runstead.engines.sqlite.rows import encode, to_event, to_run
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.sql import EVENT_BITS, Q
from runstead.ports.store import FamilyPage


class _Range(NamedTuple):
    """Consecutive events of one run in the family's order. `run_id` is None for a run that was deleted."""

    start: int
    run_seq: int
    first: int
    last: int
    run_id: str | None
    path: str | None


def note_events(connection: sqlite3.Connection, run: Run, count: int) -> None:
    """Add the run's newest events to the family's order, if the run has a family."""
    if run.parent_seq is not None or run.descendants_total:
        latest = run.latest_event_id
        connection.execute(Q["log_family"], (run.root_seq, run.seq, latest - count + 1, latest))


def note_first_child(connection: sqlite3.Connection, parent: Run) -> None:
    """Add the events of a root without a family to the order. Called before its first child is counted."""
    if parent.parent_seq is not None or parent.descendants_total:
        return
    _, logged = _end(connection, parent.seq)
    if parent.latest_event_id > logged:
        values = (parent.seq, parent.seq, logged + 1, parent.latest_event_id)
        connection.execute(Q["log_family"], values)


def count(
    connection: sqlite3.Connection, cache: WriterCache, ancestors: Sequence[int], total: int, active: int
) -> None:
    """Add to the counters of a line of ancestors."""
    for seq in ancestors:
        cache.drop(seq)
    connection.execute(Q["count_family"], (total, active, encode(ancestors).decode()))


def cancelled_ancestor(connection: sqlite3.Connection, cache: WriterCache, run: Run) -> Run | None:
    """The ancestor whose cancel has not reached this run yet. The run counts as cancelled."""
    for seq in sorted(cancelling(connection, cache).intersection(run.cancelling_seqs)):
        return to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
    return None


def cancelling(connection: sqlite3.Connection, cache: WriterCache) -> frozenset[int]:
    """Seqs of cancelled runs with descendants that are not cancelled yet."""
    if cache.cancelling is None:
        cache.cancelling = frozenset(seq for (seq,) in connection.execute(Q["cancelling"], (-1,)))
    return cache.cancelling


def page(
    connection: sqlite3.Connection,
    run: Run,
    after: int,
    limit: int,
    bytes_max: int | None,
    types: Sequence[str],
) -> FamilyPage:
    """See `runstead.ports.store.Runs.family_events`."""
    with snapshot(connection):
        return _page(connection, run, after, limit, bytes_max, frozenset(types))


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
    for span in _ranges(connection, root_seq, after):
        end = span.start + span.last - span.first
        if end <= after or span.run_id is None or span.path is None:
            continue
        if step is not None and span.run_seq != run.seq and step not in span.path:
            continue
        base = span.run_seq << EVENT_BITS
        first = span.first + max(after + 1 - span.start, 0)
        bounds = (base + first - 1, base + span.last, PRIVATE, -1)
        for found in connection.execute(Q["events_between"], bounds):
            if wanted and found[1] not in wanted:
                continue
            event = to_event(found)
            size += len(event.payload)
            if len(events) == limit or (events and bytes_max is not None and size > bytes_max):
                return FamilyPage(events, events[-1].position, more=True, ended=ended)
            position = span.start + found[0] - span.first
            events.append(FamilyEvent(span.run_id, position, event))
    # A cursor beyond the log was never issued: it is treated as the end of the log.
    return FamilyPage(events, end, more=False, ended=ended)


def _ranges(connection: sqlite3.Connection, root_seq: int, after: int) -> Iterator[_Range]:
    """Ranges with positions after `after`. The one before them may be included, and the last one always is."""
    yield from map(_Range._make, connection.execute(Q["family_ranges"], (root_seq, after)))
    row = connection.execute(Q["root_without_family"], (root_seq,)).fetchone()
    if row is None:
        return
    run_id, latest = row
    end, logged = _end(connection, root_seq)
    if latest > logged:
        yield _Range(start=end + 1, run_seq=root_seq, first=logged + 1, last=latest, run_id=run_id, path="/")


def _end(connection: sqlite3.Connection, root_seq: int) -> tuple[int, int]:
    """The last position in the log, and the last event of the root that it contains."""
    row = connection.execute(Q["family_end"], (root_seq,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1] or 0)


def usage(connection: sqlite3.Connection, run: Run) -> FamilyUsage:
    """See `runstead.ports.store.Runs.usage`."""
    root_seq = run.root_seq or run.seq
    rows = connection.execute(Q["usage"], (root_seq, root_seq, limits.name_chars_max))
    return tally(run.seq, map(_usage, rows))


def _usage(row: tuple[Any, ...]) -> RunUsage:
    seq, path, ended, reported, *usage = row
    return RunUsage(seq, path, bool(ended), Reported(*usage) if reported else None)
