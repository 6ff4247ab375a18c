"""Sums of what runs used and came to, so that reports over years read no runs."""

from collections.abc import Iterable, Iterator, Sequence
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
    Span,
    Told,
    Unsummed,
    coded,
    cover,
    took_of,
    unpacked_plain,
    unsummed,
)
from runstead.ports.store.runs import RunQuery


class Edge(NamedTuple):
    """A stretch of time that is shorter than a bucket: its runs are read. The bounds on their seq are exclusive."""

    since: int
    until: int
    seq_over: int
    seq_under: int


class UsageQuery(msgspec.Struct, frozen=True):
    """What runs used that were created in [since, until), grouped in each of these ways; of each the first `groups`."""

    project_id: str
    since: int
    until: int
    ways: Sequence[str]
    groups: int
    edges: Sequence[Edge] = ()

    @property
    def cover(self) -> Cover:
        return cover(self.since, self.until, (QUARTER,))

    def unsummed(self, entries: Told, rows: Iterable[Facts]) -> Unsummed:
        """What no sum has: entries of the project, and rows that were read."""
        return [*unsummed(entries, self.cover), *[("ended", one) for one in rows]]

    def spans(self, way: str) -> tuple[Span, ...]:
        """The buckets of this way."""
        return cover(self.since, self.until, USAGE_WIDTHS[way]).spans


class WaySums(NamedTuple):
    """`lines` of the first groups (the newest days, or those with the most tokens), `groups`: how many there are."""

    lines: list[Line]
    groups: int


class UsagePage(msgspec.Struct, frozen=True):
    """`total`: a line for each model. `runs`: all that were created in the stretch. `truncated`: a store of an older version is not added up yet, and more
    of its runs are missing from the sums than are read.
    """

    ways: dict[str, WaySums]
    total: list[Line]
    runs: int
    truncated: bool


class ActivityQuery(msgspec.Struct, frozen=True):
    """The runs of `filters` (one project; states, kinds, and a target or a schedule at most) created in [since, until), by
    bars of `width` ms that begin at `origin`. Both are multiples of a quarter hour.
    """

    filters: RunQuery
    since: int
    until: int
    origin: int
    width: int
    edges: Sequence[Edge] = ()

    @property
    def way(self) -> tuple[str, str]:
        """Which sums it is about, and under which name."""
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
        """Those that have not ended, which no sum counts; None where none is asked for."""
        alive = [one.value for one in RunStatus if one not in TERMINAL]
        asked = self.filters.statuses or alive
        return self._rows([one for one in alive if one in asked])

    def ended(self, edge: Edge) -> RunQuery | None:
        """Those of an edge that have ended."""
        over = [one.value for one in TERMINAL]
        asked = self.filters.statuses or over
        found = self._rows([one for one in over if one in asked])
        if found is None:
            return None
        times = {"created_after": edge.since - 1, "created_before": edge.until}
        return replace(found, **times, seq_over=edge.seq_over, seq_under=edge.seq_under)

    def _rows(self, statuses: Sequence[str]) -> RunQuery | None:
        return replace(self.filters, statuses=tuple(statuses)) if statuses else None

    def admits(self, kind: str, status: str) -> bool:
        filters = self.filters
        return (not filters.kinds or kind in filters.kinds) and (
            not filters.statuses or status in filters.statuses
        )

    def merged(self) -> Merged:
        return Merged(self.where)

    def summed(self, sums: Iterable[Sequence[Any]]) -> Iterator[Share]:
        """What sums say that are asked for: each its bucket, kind, status, runs and `packed` durations."""
        for at, kind, status, runs, durations in sums:
            if self.admits(kind, status):
                yield Share(at, RunStatus(status), runs, unpacked_plain(durations))

    def unsummed(self, entries: Told) -> Iterator[Share]:
        """What entries of the project say."""
        where = cover(self.since, self.until, self.where.widths)
        targets, schedule_id = self.filters.targets, self.filters.schedule_id
        for action, one in unsummed(entries, where):
            if (
                self.admits(one.kind, one.status.value)
                and (not targets or one.target in targets)
                and schedule_id in (None, one.schedule_id)
            ):
                sign = ACTIVITY[action]
                yield Share(one.created_at, one.status, sign, took_of(one, sign))


class Rollups(Protocol):
    """All that a method reads is from one moment, so that no run counts twice or not at all."""

    async def fold(self, limit: int) -> int:
        """Add at most `limit` entries to the sums, and drop them; how many there were. Every replica may call it at the
        same time.
        """
        ...

    async def catch_up(self, limit: int) -> int:
        """Add at most `limit` runs that ended before the store kept sums, newest first; how many were looked at."""
        ...

    async def usage(self, query: UsageQuery) -> UsagePage: ...

    async def families(self, project_id: str, span: Span, most: int) -> int:
        """How many sums of families these buckets hold, counted up to `most`."""
        ...

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        """None while `catch_up` has something to do: then only the rows know."""
        ...

    async def integrity(self) -> list[str]:
        """Where sums are not what the rows, the entries and each other say: sentences."""
        ...
