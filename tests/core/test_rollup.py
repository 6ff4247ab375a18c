"""Buckets cover a period exactly once, in every time zone."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, strategies

from runstead.core.usage.rollup import ACTIVITY_WIDTHS, DAY, HOUR, QUARTER, USAGE_WIDTHS, cover

TIMES = strategies.integers(0, 400 * DAY)


@given(
    TIMES,
    strategies.integers(1, 400 * DAY),
    strategies.sampled_from([*USAGE_WIDTHS.values(), ACTIVITY_WIDTHS]),
)
def test_spans_and_edges_cover_a_period_once(since, length, widths):
    found = cover(since, since + length, widths)
    parts = sorted([(span.since, span.until) for span in found.spans] + list(found.edges))
    assert parts[0][0] == since
    assert parts[-1][1] == since + length
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    for span in found.spans:
        assert span.width in widths
        assert span.since % span.width == span.until % span.width == 0
    assert all(until - since < 2 * widths[0] for since, until in found.edges)


@given(TIMES, strategies.integers(1, 400 * DAY))
def test_a_long_period_consists_mostly_of_days(since, length):
    found = cover(since, since + length, ACTIVITY_WIDTHS)
    assert sum((span.until - span.since) // span.width for span in found.spans if span.width < HOUR) <= 2 * 4
    assert (
        sum((span.until - span.since) // span.width for span in found.spans if span.width == HOUR) <= 2 * 24
    )


@pytest.mark.parametrize("year", [2000, 2026])
def test_the_days_of_every_time_zone_are_made_of_quarter_hours(year):
    for zone in sorted(available_timezones()):
        midnight = datetime(year, 7, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        assert int(midnight.timestamp() * 1000) % QUARTER == 0, zone
