"""Runs over time: every run counts once, in the bucket of its time."""

from hypothesis import given, strategies

from runstead.activity import Glimpse, quantile, summed_up
from runstead.run import RunStatus

SINCE, UNTIL = 1_000, 1_700
GLIMPSES = strategies.lists(
    strategies.builds(
        Glimpse,
        seq=strategies.integers(1, 10**6),
        status=strategies.sampled_from(RunStatus),
        created_at=strategies.integers(SINCE - 50, UNTIL + 50),
        duration_ms=strategies.none() | strategies.integers(0, 10**6),
    )
)


def told(glimpses, count=7, **options):
    return summed_up(glimpses, since=SINCE, until=UNTIL, count=count, **options)


@given(GLIMPSES, strategies.integers(1, 100))
def test_every_run_of_the_stretch_counts_in_the_one_bucket_that_holds_its_time(glimpses, count):
    activity = told(glimpses, count)
    assert len(activity.buckets) == count
    begins = [bucket.begins_at for bucket in activity.buckets]
    assert begins == list(range(SINCE, SINCE + count * activity.width_ms, activity.width_ms))
    for bucket in activity.buckets:
        end = min(bucket.begins_at + activity.width_ms, UNTIL)
        inside = [one for one in glimpses if bucket.begins_at <= one.created_at < end]
        assert bucket.runs == len(inside)
        assert all(
            bucket.counts[status] == sum(one.status is status for one in inside) for status in bucket.counts
        )
    assert activity.total.runs == sum(SINCE <= one.created_at < UNTIL for one in glimpses)
    assert activity.total.runs == sum(bucket.runs for bucket in activity.buckets)


@given(GLIMPSES)
def test_quantiles_are_of_the_runs_that_completed(glimpses):
    activity = told(glimpses, 1)
    took = [
        one.duration_ms
        for one in glimpses
        if one.status is RunStatus.COMPLETED
        and one.duration_ms is not None
        and SINCE <= one.created_at < UNTIL
    ]
    if not took:
        assert (activity.total.p50_ms, activity.total.p95_ms) == (None, None)
    else:
        assert activity.total.p50_ms in took
        assert activity.total.p50_ms <= activity.total.p95_ms <= max(took)
    assert activity.buckets[0] == activity.total


@given(strategies.lists(strategies.integers(), min_size=1).map(sorted), strategies.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(ordered, percent):
    found = quantile(ordered, percent)
    assert sum(value <= found for value in ordered) * 100 >= percent * len(ordered)
    assert sum(value < found for value in ordered) * 100 < percent * len(ordered)


def test_known_quantiles():
    assert quantile([], 50) is None
    assert [quantile([1, 2, 3, 4], percent) for percent in (50, 95)] == [2, 4]
    assert quantile(range(1, 101), 95) == 95


def test_what_was_cut_off_is_told():
    glimpses = [Glimpse(1, RunStatus.FAILED, 1_500), Glimpse(2, RunStatus.PENDING, 1_600)]
    assert (told(glimpses).truncated, told(glimpses).complete_since) == (False, SINCE)
    cut = told(glimpses, truncated=True)
    assert (cut.truncated, cut.complete_since) == (True, 1_501)


def test_a_stretch_shorter_than_its_buckets_has_buckets_of_a_millisecond():
    activity = summed_up([Glimpse(1, RunStatus.FAILED, 5)], since=5, until=6, count=3)
    assert [(bucket.begins_at, bucket.runs) for bucket in activity.buckets] == [(5, 1), (6, 0), (7, 0)]
