"""Activity charts: outcomes and durations of runs in buckets of equal width. Times are ms."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from runstead.core.runs.run import RunStatus
from runstead.core.usage.rollup import ACTIVITY_WIDTHS, rounded


class RunSummary(msgspec.Struct, frozen=True, gc=False):  # no cycle can go through it
    """The few members of a run that lists need to find its place in their order."""

    seq: int
    status: RunStatus
    created_at: int
    completed_at: int | None = None
    duration_ms: int | None = None


RUN_SUMMARY_FIELDS: Final = RunSummary.__struct_fields__


class Share(NamedTuple):
    """The number of runs with one status that were created in the bucket of `at`, and durations of completed runs, rounded
    by `rollup.rounded`. Numbers are negative if they correct a sum that counts deleted runs.
    """

    at: int
    status: RunStatus
    runs: int
    durations: Mapping[int, int]


def share(at: int, status: str, duration_ms: int | None, runs: int) -> Share:
    """Build the share of runs with one status and, if they completed, one duration."""
    took = duration_ms is not None and status == RunStatus.COMPLETED
    return Share(at, RunStatus(status), runs, Counter({rounded(duration_ms or 0): runs} if took else ()))


def shares_of(runs: Iterable[RunSummary], where: "Grid") -> list[Share]:
    """Of runs that were read one by one: a share for each bar and state."""
    counts: Counter[tuple[int, RunStatus]] = Counter()
    took: defaultdict[tuple[int, RunStatus], Counter[int]] = defaultdict(Counter)
    for run in runs:
        place = (run.created_at - where.origin) // where.width, run.status
        counts[place] += 1
        if run.status is RunStatus.COMPLETED and run.duration_ms is not None:
            took[place][rounded(run.duration_ms)] += 1
    return [
        Share(where.origin + place * where.width, status, count, took[place, status])
        for (place, status), count in counts.items()
    ]


class Bucket(msgspec.Struct, frozen=True):
    """The number of runs by status that were created from `begins_at` up to the next bucket. The quantiles are those of
    completed runs, None if there are none.
    """

    begins_at: int
    counts: dict[RunStatus, int]
    p50_ms: int | None = None
    p95_ms: int | None = None

    @property
    def runs(self) -> int:
        return sum(self.counts.values())


class Activity(msgspec.Struct, frozen=True):
    """`buckets` oldest first, each `width_ms` wide; `total` of all of them. The first may begin before `since`, and the
    last end after `until`, but runs that were created outside are not counted. `counted_since`: there are more runs than a
    chart reads, and only the newest of them count, created from this moment on; None where all count.
    """

    since: int
    until: int
    width_ms: int
    buckets: list[Bucket]
    total: Bucket
    counted_since: int | None = None


class Grid(NamedTuple):
    """The start of the first bucket, and the width of all buckets, in ms."""

    origin: int
    width: int

    @property
    def widths(self) -> list[int]:
        """The widths of sums that add up to a bucket, narrowest first. Empty if a bucket must be counted from runs."""
        return [one for one in ACTIVITY_WIDTHS if self.width % one == 0 and self.origin % one == 0]


def grid(since: int, until: int, count: int) -> Grid:
    """At most `count` + 1 buckets over [since, until). Those of a quarter hour or more begin with quarter hours, and those of
    an hour, a day or a week or more with hours, days or weeks (UTC): so they are sums of sums.
    """
    assert since < until, (since, until)
    assert count > 0, count
    width, unit = -(-(until - since) // count), 1
    for wider in ACTIVITY_WIDTHS:
        if width < wider:
            break
        width, unit = -(-width // wider) * wider, wider
    return Grid(since // unit * unit, width)


class Merged:
    """Shares, added up by bar and state as they are read: a chart of years reads thousands, and keeps few."""

    def __init__(self, where: Grid) -> None:
        self._where = where
        self._runs: Counter[tuple[int, RunStatus]] = Counter()
        self._durations: defaultdict[tuple[int, RunStatus], dict[int, int]] = defaultdict(dict)

    def add(self, shares: Iterable[Share]) -> None:
        origin, width = self._where
        for share in shares:
            place = (share.at - origin) // width, share.status
            self._runs[place] += share.runs
            _join(self._durations[place], share.durations)

    def shares(self) -> list[Share]:
        """One for each bar and state."""
        origin, width = self._where
        return [
            Share(origin + place * width, status, runs, self._durations[place, status])
            for (place, status), runs in self._runs.items()
        ]


def summarize(shares: Iterable[Share], *, since: int, until: int, where: Grid) -> Activity:
    """Add up the shares in the buckets of the grid."""
    places = -(-(until - where.origin) // where.width)
    counts: list[Counter[RunStatus]] = [Counter() for _ in range(places)]
    durations: list[dict[int, int]] = [{} for _ in range(places)]
    for share in shares:
        place = (share.at - where.origin) // where.width
        counts[place][share.status] += share.runs
        _join(durations[place], share.durations)
    everything: Counter[RunStatus] = Counter()
    took: dict[int, int] = {}
    for one, its in zip(counts, durations, strict=True):
        everything.update(one)
        _join(took, its)
    return Activity(
        since,
        until,
        where.width,
        [
            _bucket(where.origin + place * where.width, one, its)
            for place, (one, its) in enumerate(zip(counts, durations, strict=True))
        ],
        _bucket(since, everything, took),
    )


def _join(durations: dict[int, int], others: Mapping[int, int]) -> None:
    # Of plain dictionaries, which are faster than counters: a chart of years adds up several 100,000 durations.
    if not durations:
        durations.update(others)
        return
    for ms, runs in others.items():
        durations[ms] = durations.get(ms, 0) + runs


def _bucket(begins_at: int, counts: Counter[RunStatus], took: Mapping[int, int]) -> Bucket:
    there = {status: runs for status, runs in counts.items() if runs}
    return Bucket(begins_at, there, quantile(took, 50), quantile(took, 95))


def quantile(durations: Mapping[int, int], percent: int) -> int | None:
    """Return the smallest value that at least `percent` % of the runs do not exceed (nearest rank). None without runs.

    `durations`: duration → number of runs.
    """
    wanted = -(-sum(durations.values()) * percent // 100)
    for value in sorted(durations):
        count = durations[value]
        wanted -= count
        if wanted <= 0 and count:
            return value
    return None
