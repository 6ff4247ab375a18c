"""A family's events in one order, and what its runs used.

While a root has no descendants, its own log is the order, and nothing is written beside it. With its first child, its
events so far get their places in `family_log`; from then on every append of the family adds a stretch there. Places are
given at the end of a transaction, under the lock of the root's counters: nobody sees a place before those below it.
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


class _Stretch(NamedTuple):
    """Events of one run that follow one another in the family."""

    run_seq: int
    first: int
    last: int


class FamilyLog:
    """The stretches of one transaction, in the order in which they were decided."""

    def __init__(self) -> None:
        self.familied: set[int] = set()
        """Roots with a family, as far as this transaction holds them."""
        self.found: list[int] = []
        """Those that got it in this transaction."""
        self._stretches: dict[int, list[_Stretch]] = defaultdict(list)

    def first_child(self, root: Run) -> None:
        """Give the events of a root that was alone so far their places. Before those of its child."""
        if root.seq not in self.familied:
            self.familied.add(root.seq)
            self.found.append(root.seq)
            self.note(root, root.latest_event_id)

    def note(self, run: Run, count: int) -> None:
        """Give the run's newest events their places, where it has a family."""
        if not count or (run.parent_seq is None and run.seq not in self.familied):
            return
        assert run.root_seq is not None
        stretches = self._stretches[run.root_seq]
        new = _Stretch(run.seq, run.latest_event_id - count + 1, run.latest_event_id)
        if stretches and stretches[-1].run_seq == run.seq and stretches[-1].last == new.first - 1:
            new = _Stretch(run.seq, stretches.pop().first, new.last)
        stretches.append(new)

    async def write(self, connection: Connection, moved: Mapping[int, Sequence[int]]) -> None:
        """Move the counters, by (total, active) of each run, and store the stretches."""
        counts = {
            seq: sum(stretch.last - stretch.first + 1 for stretch in stretches)
            for seq, stretches in self._stretches.items()
        }
        rows = [(seq, *moved.get(seq, (0, 0)), counts.get(seq, 0)) for seq in {**moved, **counts}]
        rows = [row for row in rows if any(row[1:])]
        if not rows:
            return
        logged = dict(await connection.fetch(Q["count_families"], *columns_of(rows)))
        places = []
        for root_seq, stretches in self._stretches.items():
            start = logged[root_seq] - counts[root_seq] + 1
            for stretch in stretches:
                places.append((root_seq, start, *stretch))
                start += stretch.last - stretch.first + 1
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
    ):  # all of it from one moment
        row = await connection.fetchrow(Q["family_state"], run.seq, root_seq)
        ended, familied, latest, logged = row
        given = (root_seq, after, limit, most, list(types) or None)
        if familied:
            rows = await connection.fetch(Q["family_events"], *given, run.seq, step)
        else:
            rows = await connection.fetch(Q["lone_events"], *given)
    events = [FamilyEvent(run_id, position, to_event(told)) for run_id, position, *told, _ in rows]
    if rows and rows[0][-1] > len(rows):
        return FamilyPage(events, events[-1].position, more=True, ended=ended)
    # A cursor ahead of the log, which nobody was given, is taken for its end.
    return FamilyPage(events, (logged if familied else latest) or 0, more=False, ended=ended)


async def usage(connection: Connection, run: Run) -> FamilyUsage:
    """See `runstead.ports.store.Runs.usage`."""
    root_seq = run.root_seq or run.seq
    family: list[RunUsage] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        silent = await connection.fetch(Q["silent_family"], root_seq)
        family += [RunUsage(seq, path, ended, None) for seq, path, ended in silent]
        async for seq, path, ended, metadata in connection.cursor(
            Q["reporting_family"], root_seq, prefetch=1
        ):
            family.append(RunUsage(seq, path, ended, read(metadata)))
    return tally(run.seq, family)
