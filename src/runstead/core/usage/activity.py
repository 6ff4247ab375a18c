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
    """The number of runs with one status that were created in the bucket of `at`, and durations of completed
    runs, rounded by `rollup.rounded`. Numbers are negative if they correct a sum that counts deleted runs.
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
    """Count runs that were read one by one. Returns a share for each bucket and status."""
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
    """The number of runs by status that were created from `begins_at` up to the next bucket. The quantiles
    are those of completed runs, None if there are none.
    """

    begins_at: int
    counts: dict[RunStatus, int]
    p50_ms: int | None = None
    p95_ms: int | None = None

    @property
    def runs(self) -> int:
        return sum(self.counts.values())


class Activity(msgspec.Struct, frozen=True):
    """`buckets` oldest first, each `width_ms` wide, and their `total`. The first bucket may begin before
    `since` and the last may end after `until`, but only runs that were created between `since` and `until`
    are counted.

    `counted_since` is set if there are more runs than a chart reads: only runs that were created since then
    are counted.
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
        """The widths of sums that add up to a bucket, narrowest first.

        Empty if a bucket must be counted from runs.
        """
        return [one for one in ACTIVITY_WIDTHS if self.width % one == 0 and self.origin % one == 0]


def grid(since: int, until: int, count: int) -> Grid:
    """Return a grid of at most `count` + 1 buckets over [since, until). Buckets of at least a quarter hour,
    an hour, a day or a week start at a quarter hour, an hour, a day or a week (UTC), so that they can be
    added up from sums.
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
    """Adds up shares by bucket and status while they are read, because a chart of years reads thousands of shares."""

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
        """Return one share for each bucket and status."""
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
    all_counts: Counter[RunStatus] = Counter()
    all_durations: dict[int, int] = {}
    for bucket_counts, bucket_durations in zip(counts, durations, strict=True):
        all_counts.update(bucket_counts)
        _join(all_durations, bucket_durations)
    return Activity(
        since,
        until,
        where.width,
        [
            _bucket(where.origin + place * where.width, *of_bucket)
            for place, of_bucket in enumerate(zip(counts, durations, strict=True))
        ],
        _bucket(since, all_counts, all_durations),
    )


def _join(durations: dict[int, int], others: Mapping[int, int]) -> None:
    # Plain dictionaries are faster than counters: a chart of years adds up several 100,000 durations.
    if not durations:
        durations.update(others)
        return
    for ms, runs in others.items():
        durations[ms] = durations.get(ms, 0) + runs


def _bucket(begins_at: int, counts: Counter[RunStatus], durations: Mapping[int, int]) -> Bucket:
    present = {status: runs for status, runs in counts.items() if runs}
    return Bucket(begins_at, present, quantile(durations, 50), quantile(durations, 95))


def quantile(durations: Mapping[int, int], percent: int) -> int | None:
    """Return the smallest value that at least `percent` % of the runs do not exceed (nearest rank). None
    without runs.

    `durations`: duration → number of runs.
    """
    wanted = -(-sum(durations.values()) * percent // 100)
    for value in sorted(durations):
        count = durations[value]
        wanted -= count
        if wanted <= 0 and count:
            return value
    return None
