"""What runs came to over time: buckets of equal width, their outcomes and how long they took. Times are ms."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runstead.run import RunStatus


class Glimpse(msgspec.Struct, frozen=True, gc=False):  # no cycle can go through it
    """As much of a run as a chart needs."""

    seq: int
    status: RunStatus
    created_at: int
    completed_at: int | None = None
    duration_ms: int | None = None


GLIMPSE_FIELDS: Final = Glimpse.__struct_fields__


class Bucket(msgspec.Struct, frozen=True):
    """The runs created from `begins_at` on, up to the next bucket: how many are in which state now. The quantiles are
    those of the runs that completed, None where none did.
    """

    begins_at: int
    counts: dict[RunStatus, int]
    p50_ms: int | None = None
    p95_ms: int | None = None

    @property
    def runs(self) -> int:
        return sum(self.counts.values())


class Activity(msgspec.Struct, frozen=True):
    """`buckets` oldest first, each `width_ms` wide; `total` of all of them, from `since` on.

    `truncated`: there were more runs than are looked at. Then what is told is true of the runs from `complete_since`
    on, and buckets that begin before it are short of some.
    """

    since: int
    until: int
    width_ms: int
    buckets: list[Bucket]
    total: Bucket
    truncated: bool
    complete_since: int


def summed_up(
    glimpses: Iterable[Glimpse], *, since: int, until: int, count: int, truncated: bool = False
) -> Activity:
    """`count` buckets over [since, until); the last may reach beyond it, so that all are of one width. Runs that were
    created outside are not counted.
    """
    assert since < until, (since, until)
    assert count > 0, count
    width = -(-(until - since) // count)
    places: list[list[Glimpse]] = [[] for _ in range(count)]
    inside: list[Glimpse] = []
    for one in glimpses:
        if since <= one.created_at < until:
            inside.append(one)
            places[(one.created_at - since) // width].append(one)
    oldest = min((one.created_at for one in inside), default=until)
    return Activity(
        since,
        until,
        width,
        [_bucket(since + place * width, found) for place, found in enumerate(places)],
        _bucket(since, inside),
        truncated,
        # Of the oldest one's millisecond some may be missing.
        oldest + 1 if truncated else since,
    )


def _bucket(begins_at: int, runs: Sequence[Glimpse]) -> Bucket:
    counts = Counter(run.status for run in runs)
    took = sorted(
        run.duration_ms for run in runs if run.status is RunStatus.COMPLETED and run.duration_ms is not None
    )
    return Bucket(begins_at, dict(counts), quantile(took, 50), quantile(took, 95))


def quantile(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest value that at least so many percent of all do not exceed (nearest rank); None of none."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
