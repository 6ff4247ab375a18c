"""The order of a family's events, and the usage of its runs.

While a root has no descendants, its own log is the order and `family_log` has no rows. Its first child adds the root's
events so far to `family_log`. From then on every append in the family adds a row with the range of its events. Positions
are given at the end of a transaction, under the lock of the root's counters, so readers see them without gaps.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runstead.core import limits
from runstead.core.runs.event import FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.usage.usage import FamilyUsage, RunUsage, read, tally
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.run_rows import to_event
from runstead.ports.store import FamilyPage


class _Range(NamedTuple):
    """Consecutive events of one run in the family's order."""

    run_seq: int
    first: int
    last: int


class FamilyLog:
    """The ranges of events of one transaction, in the order of its commands."""

    def __init__(self) -> None:
        self.familied: set[int] = set()
        """Roots with a family, of those that this transaction has locked."""
        self.new_families: list[int] = []
        """Roots that got a family in this transaction."""
        self._ranges: dict[int, list[_Range]] = defaultdict(list)

    def first_child(self, root: Run) -> None:
        """Add the events of a root without a family to the order. Called before its first child's events are added."""
        if root.seq not in self.familied:
            self.familied.add(root.seq)
            self.new_families.append(root.seq)
            self.note(root, root.latest_event_id)

    def note(self, run: Run, count: int) -> None:
        """Add the run's newest events to the family's order, if the run has a family."""
        if not count or (run.parent_seq is None and run.seq not in self.familied):
            return
        assert run.root_seq is not None
        ranges = self._ranges[run.root_seq]
        new = _Range(run.seq, run.latest_event_id - count + 1, run.latest_event_id)
        if ranges and ranges[-1].run_seq == run.seq and ranges[-1].last == new.first - 1:
            new = _Range(run.seq, ranges.pop().first, new.last)
        ranges.append(new)

    async def write(self, connection: Connection, moved: Mapping[int, Sequence[int]]) -> None:
        """Move the counters by (total, active) of each run, and store the ranges."""
        counts = {
            seq: sum(events_range.last - events_range.first + 1 for events_range in ranges)
            for seq, ranges in self._ranges.items()
        }
        rows = [(seq, *moved.get(seq, (0, 0)), counts.get(seq, 0)) for seq in {**moved, **counts}]
        rows = [row for row in rows if any(row[1:])]
        if not rows:
            return
        logged = dict(await connection.fetch(Q["count_families"], *columns_of(rows)))
        places = []
        for root_seq, ranges in self._ranges.items():
            start = logged[root_seq] - counts[root_seq] + 1
            for events_range in ranges:
                places.append((root_seq, start, *events_range))
                start += events_range.last - events_range.first + 1
        if places:
            await connection.execute(Q["log_families"], *columns_of(places))


async def page(
    connection: Connection, run: Run, after: int, limit: int, bytes_max: int | None, types: Sequence[str]
) -> FamilyPage:
    """See `runstead.ports.store.Runs.family_events`."""
    root_seq = run.root_seq or run.seq
    step = None if run.seq == root_seq else f"/{run.seq}/"
    after = min(after, limits.integer_max - 1)
    most = limits.integer_max if bytes_max is None else bytes_max
    async with connection.transaction(
        isolation="repeatable_read", readonly=True
    ):  # one snapshot for all statements
        row = await connection.fetchrow(Q["family_state"], run.seq, root_seq)
        ended, familied, latest, logged = row
        given = (root_seq, after, limit, most, list(types) or None)
        if familied:
            rows = await connection.fetch(Q["family_events"], *given, run.seq, step)
        else:
            rows = await connection.fetch(Q["root_events"], *given)
    events = [FamilyEvent(run_id, position, to_event(columns)) for run_id, position, *columns, _ in rows]
    if rows and rows[0][-1] > len(rows):
        return FamilyPage(events, events[-1].position, more=True, ended=ended)
    # A cursor beyond the log was never issued: it is treated as the end of the log.
    return FamilyPage(events, (logged if familied else latest) or 0, more=False, ended=ended)


async def usage(connection: Connection, run: Run) -> FamilyUsage:
    """See `runstead.ports.store.Runs.usage`."""
    root_seq = run.root_seq or run.seq
    family: list[RunUsage] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        unreported = await connection.fetch(Q["family_without_usage"], root_seq)
        family += [RunUsage(seq, path, ended, None) for seq, path, ended in unreported]
        async for seq, path, ended, metadata in connection.cursor(
            Q["family_with_usage"], root_seq, prefetch=1
        ):
            family.append(RunUsage(seq, path, ended, read(metadata)))
    return tally(run.seq, family)
