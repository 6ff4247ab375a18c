"""Activity charts: outcomes and durations of runs in buckets of equal width. Times are ms."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from runstead.core.runs.run import RunStatus
from runstead.core.usage.rollup import ACTIVITY_WIDTHS, Durations, rounded


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
    durations: Durations


def share(at: int, status: str, duration_ms: int | None, runs: int) -> Share:
    """Build the share of runs with one status and, if they completed, one duration."""
    took = duration_ms is not None and status == RunStatus.COMPLETED
    return Share(at, RunStatus(status), runs, Counter({rounded(duration_ms or 0): runs} if took else ()))


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
    """`buckets` oldest first, each `width_ms` wide, and their `total`. The first bucket may begin before `since` and the
    last may end after `until`, but only runs that were created between `since` and `until` are counted.
    """

    since: int
    until: int
    width_ms: int
    buckets: list[Bucket]
    total: Bucket


class Grid(NamedTuple):
    """The start of the first bucket, and the width of all buckets, in ms."""

    origin: int
    width: int

    @property
    def widths(self) -> list[int]:
        """The widths of sums that add up to a bucket, narrowest first. Empty if a bucket must be counted from runs."""
        return [one for one in ACTIVITY_WIDTHS if self.width % one == 0 and self.origin % one == 0]


def grid(since: int, until: int, count: int) -> Grid:
    """Return a grid of at most `count` + 1 buckets over [since, until). Buckets of a quarter hour or more start at quarter
    hours, buckets of a day or more at days (UTC), so that they can be added up from sums.
    """
    assert since < until, (since, until)
    assert count > 0, count
    width = -(-(until - since) // count)
    for unit in reversed(ACTIVITY_WIDTHS):
        if width >= unit:
            width = -(-width // unit) * unit
            return Grid(since // unit * unit, width)
    return Grid(since, width)


def summarize(shares: Iterable[Share], *, since: int, until: int, where: Grid) -> Activity:
    """Add up the shares in the buckets of the grid."""
    places = -(-(until - where.origin) // where.width)
    counts: list[Counter[RunStatus]] = [Counter() for _ in range(places)]
    durations: list[Durations] = [Counter() for _ in range(places)]
    for share in shares:
        place = (share.at - where.origin) // where.width
        counts[place][share.status] += share.runs
        for ms, runs in share.durations.items():
            durations[place][ms] += runs
    everything: Counter[RunStatus] = Counter()
    took: Durations = Counter()
    for one, its in zip(counts, durations, strict=True):
        everything.update(one)
        took.update(its)
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


def _bucket(begins_at: int, counts: Counter[RunStatus], took: Durations) -> Bucket:
    there = {status: runs for status, runs in counts.items() if runs}
    return Bucket(begins_at, there, quantile(took, 50), quantile(took, 95))


def quantile(durations: Mapping[int, int], percent: int) -> int | None:
    """Return the smallest value that at least `percent` % of the runs do not exceed (nearest rank). None without runs.

    `durations`: duration → number of runs.
    """
    wanted = -(-sum(durations.values()) * percent // 100)
    for value, count in sorted(durations.items()):
        wanted -= count
        if wanted <= 0 and count:
            return value
    return None
