"""Sums of usage and activity, so that reports over years read no runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from runstead.core.runs.run import TERMINAL, RunStatus
from runstead.core.usage.activity import Grid, Merged, Share
from runstead.core.usage.rollup import (
    ACTIVITY,
    QUARTER,
    USAGE_WIDTHS,
    Cover,
    Facts,
    Line,
    PendingEntries,
    Span,
    StoredEntries,
    coded,
    cover,
    duration_of,
    pending_entries,
    unpacked_plain,
)
from runstead.ports.store.runs import RunQuery


class Edge(NamedTuple):
    """A period that is shorter than a bucket, so that its runs are read.

    The bounds of their seq are exclusive.
    """

    since: int
    until: int
    seq_over: int
    seq_under: int


class UsageQuery(msgspec.Struct, frozen=True):
    """A usage report of the runs that were created in [since, until), with the first `groups` groups of each
    grouping in `ways`.
    """

    project_id: str
    since: int
    until: int
    ways: Sequence[str]
    groups: int
    edges: Sequence[Edge] = ()

    @property
    def cover(self) -> Cover:
        return cover(self.since, self.until, (QUARTER,))

    def pending(self, entries: StoredEntries, rows: Iterable[Facts]) -> PendingEntries:
        """Return what no sum has: entries of the project, and rows that were read."""
        return [*pending_entries(entries, self.cover), *[("ended", one) for one in rows]]

    def spans(self, way: str) -> tuple[Span, ...]:
        """The buckets of this grouping."""
        return cover(self.since, self.until, USAGE_WIDTHS[way]).spans


class WaySums(NamedTuple):
    """The sums of one grouping: the `lines` of its first groups (the newest days, or those with the most
    tokens), and the number of all `groups`.
    """

    lines: list[Line]
    groups: int


class UsagePage(msgspec.Struct, frozen=True):
    """`total`: a line for each model. `runs`: the number of runs that were created in the period.
    `truncated`: a store of an older version is not summed up yet, and the report could not read all of its
    runs.
    """

    ways: dict[str, WaySums]
    total: list[Line]
    runs: int
    truncated: bool


class ActivityQuery(msgspec.Struct, frozen=True):
    """An activity chart of the runs that match `filters` and were created in [since, until), in buckets of
    `width` ms from `origin` on. Both are multiples of a quarter hour. `filters` has one project, any statuses
    and kinds, and at most one target or schedule.
    """

    filters: RunQuery
    since: int
    until: int
    origin: int
    width: int
    edges: Sequence[Edge] = ()

    @property
    def way(self) -> tuple[str, str]:
        """The grouping of the sums, and their encoded name."""
        if self.filters.targets:
            return "target", coded(self.filters.targets[0])
        if self.filters.schedule_id is not None:
            return "schedule", coded(self.filters.schedule_id)
        return "all", ""

    @property
    def where(self) -> Grid:
        return Grid(self.origin, self.width)

    @property
    def spans(self) -> tuple[Span, ...]:
        return cover(self.since, self.until, self.where.widths).spans

    @property
    def living(self) -> RunQuery | None:
        """The list of active runs, which no sum counts. None if the filters exclude them."""
        active = [one.value for one in RunStatus if one not in TERMINAL]
        wanted = self.filters.statuses or active
        return self._rows([one for one in active if one in wanted])

    def ended(self, edge: Edge) -> RunQuery | None:
        """The list of the ended runs of an edge. None if the filters exclude them."""
        terminal = [one.value for one in TERMINAL]
        wanted = self.filters.statuses or terminal
        query = self._rows([one for one in terminal if one in wanted])
        if query is None:
            return None
        times = {"created_after": edge.since - 1, "created_before": edge.until}
        return replace(query, **times, seq_over=edge.seq_over, seq_under=edge.seq_under)

    def _rows(self, statuses: Sequence[str]) -> RunQuery | None:
        return replace(self.filters, statuses=tuple(statuses)) if statuses else None

    def admits(self, kind: str, status: str) -> bool:
        """Whether the filters include runs of this kind and status."""
        filters = self.filters
        return (not filters.kinds or kind in filters.kinds) and (
            not filters.statuses or status in filters.statuses
        )

    def merged(self) -> Merged:
        return Merged(self.where)

    def summed(self, sums: Iterable[Sequence[Any]]) -> Iterator[Share]:
        """Yield the shares of sums that match the filters.

        A sum is (bucket, kind, status, runs, `packed` durations).
        """
        for at, kind, status, runs, durations in sums:
            if self.admits(kind, status):
                yield Share(at, RunStatus(status), runs, unpacked_plain(durations))

    def pending(self, entries: StoredEntries) -> Iterator[Share]:
        """Yield the shares of pending entries of the project that match the filters."""
        where = cover(self.since, self.until, self.where.widths)
        targets, schedule_id = self.filters.targets, self.filters.schedule_id
        for action, one in pending_entries(entries, where):
            if (
                self.admits(one.kind, one.status.value)
                and (not targets or one.target in targets)
                and schedule_id in (None, one.schedule_id)
            ):
                sign = ACTIVITY[action]
                yield Share(one.created_at, one.status, sign, duration_of(one, sign))


class Rollups(Protocol):
    """A method reads everything at one moment, so that every run counts exactly once."""

    async def add_entries(
        self, limit: int, count_tokens: Callable[[Sequence[int]], object] | None = None
    ) -> int:
        """Add at most `limit` entries to the sums and delete them. Returns their number. Several replicas may
        call it at the same time. `count_tokens` receives the tokens of the runs that ended, after the commit:
        input, output, cached input and reasoning.
        """

    async def catch_up(self, limit: int) -> int:
        """Add at most `limit` runs that ended before the store had sums, newest first.

        Returns the number of runs read.
        """

    async def usage(self, query: UsageQuery) -> UsagePage: ...

    async def families(self, project_id: str, span: Span, most: int) -> int:
        """Count the family sums of these buckets, up to `most`."""

    async def targets(self, project_id: str, most: int) -> list[str]:
        """Return the targets of the project's ended runs that are summed up, in order, at most `most`."""

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        """Return the shares of a chart. None while `catch_up` is not complete: then the rows must be read."""

    async def integrity(self) -> list[str]:
        """Compare the sums with the rows, the entries and each other.

        Returns a sentence for each difference.
        """
