"""Activity charts: every run counts once, in the bucket of its time."""

from collections import Counter

from hypothesis import given, strategies

from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import Grid, grid, quantile, share, summarize
from runstead.core.usage.rollup import ACTIVITY_WIDTHS, DAY, HOUR, QUARTER, WEEK, cover, rounded

SINCE, UNTIL = 1_000, 1_700
NEW_YEAR = 1_767_225_600_000  # 2026
SHARES = strategies.lists(
    strategies.builds(
        share,
        strategies.integers(SINCE, UNTIL - 1),
        strategies.sampled_from(RunStatus),
        strategies.none() | strategies.integers(0, 10**6),
        strategies.integers(1, 3),
    )
)


def chart(shares, count=7):
    return summarize(shares, since=SINCE, until=UNTIL, where=grid(SINCE, UNTIL, count))


@given(SHARES, strategies.integers(1, 100))
def test_every_run_counts_in_exactly_the_bucket_of_its_time(shares, count):
    activity = chart(shares, count)
    begins = [bucket.begins_at for bucket in activity.buckets]
    assert begins == list(range(SINCE, UNTIL, activity.width_ms))
    assert len(begins) <= count
    for bucket in activity.buckets:
        end = bucket.begins_at + activity.width_ms
        inside = Counter()
        for one in shares:
            if bucket.begins_at <= one.at < end:
                inside[one.status] += one.runs
        assert bucket.counts == inside
    assert (
        activity.total.runs == sum(bucket.runs for bucket in activity.buckets) == sum(s.runs for s in shares)
    )


@given(SHARES)
def test_quantiles_cover_completed_runs_only(shares):
    activity = chart(shares, 1)
    took = Counter()
    for one in shares:
        took.update(one.durations)
    assert all(one.status is RunStatus.COMPLETED for one in shares if one.durations)
    assert (activity.total.p50_ms, activity.total.p95_ms) == (quantile(took, 50), quantile(took, 95))


@given(strategies.lists(strategies.integers(0), min_size=1), strategies.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_enough_runs_do_not_exceed(values, percent):
    found = quantile(Counter(values), percent)
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_known_quantiles():
    assert quantile(Counter(), 50) is None
    assert [quantile(Counter([1, 2, 3, 4]), percent) for percent in (50, 95)] == [2, 4]
    assert quantile(Counter(range(1, 101)), 95) == 95


def test_a_deleted_run_is_subtracted_again():
    shares = [
        share(1_500, "completed", 40, 3),
        share(1_500, "completed", 40, -3),
        share(1_600, "failed", None, 1),
    ]
    activity = chart(shares, 1)
    assert (activity.total.counts, activity.total.p50_ms) == ({RunStatus.FAILED: 1}, None)


@given(strategies.integers(0, 10**12))
def test_a_duration_is_rounded_by_two_and_a_half_percent_at_most(ms):
    assert abs(rounded(ms) - ms) * 40 <= ms
    assert rounded(rounded(ms)) == rounded(ms)


@given(strategies.integers(0, 10**12), strategies.integers(1, 10**11), strategies.integers(1, 500))
def test_wide_buckets_are_read_from_sums_and_start_no_later_than_the_period(since, length, count):
    where = grid(since, since + length, count)
    assert where.origin <= since < where.origin + max(DAY, where.width)
    assert -(-(since + length - where.origin) // where.width) <= count + 1
    assert bool(where.widths) == (where.width >= QUARTER)


def test_buckets_are_read_from_the_widest_sums_that_fit():
    assert Grid(0, 2 * HOUR).widths == [QUARTER, HOUR]
    assert Grid(0, 3 * DAY).widths == [QUARTER, HOUR, DAY]
    assert Grid(0, 2 * WEEK).widths == [QUARTER, HOUR, DAY, WEEK]
    assert Grid(DAY, WEEK).widths == [QUARTER, HOUR, DAY]
    assert Grid(QUARTER, HOUR).widths == [QUARTER]
    assert Grid(0, 300_000).widths == []


@given(strategies.integers(0, 10**12), strategies.integers(0, 3_650 * DAY))
def test_a_chart_of_up_to_ten_years_reads_few_sums(since, length):
    where = grid(since, since + length + QUARTER, 60)
    spans = cover(since, since + length + QUARTER, where.widths or ACTIVITY_WIDTHS).spans
    # 60 bars of 23 hours, or ten years of weeks; and at both ends what is left of an hour, a day and a week.
    assert sum((one.until - one.since) // one.width for one in spans) <= 60 * 23 + 2 * (3 + 23 + 6)


def test_the_bars_of_a_year_are_weeks():
    where = grid(NEW_YEAR, NEW_YEAR + 365 * DAY, 60)
    assert (where.width, where.origin % WEEK) == (WEEK, 0)
