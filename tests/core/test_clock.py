import re
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.clock import iso, iso_or_none, now_ms, to_ms

moments = st.integers(0, limits.timestamp_ms_max)


def test_a_time_is_shown_in_utc_with_milliseconds():
    assert iso(1_774_008_000_000) == "2026-03-20T12:00:00.000Z"
    assert iso(1_774_008_000_007) == "2026-03-20T12:00:00.007Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(limits.timestamp_ms_max) == "9999-12-31T23:59:59.999Z"
    assert iso_or_none(None) is None


@given(moments)
def test_a_time_has_one_shape_and_can_be_read_back(ms):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", iso(ms))
    assert to_ms(datetime.fromisoformat(iso(ms))) == ms


@given(moments, moments)
def test_times_sort_as_they_are_written(one, other):
    assert (iso(one) < iso(other)) == (one < other)


def test_a_moment_in_another_zone_is_the_same_moment():
    assert to_ms(datetime.fromisoformat("2026-03-20T14:00:00.001+02:00")) == 1_774_008_000_001


def test_now_is_now():
    assert abs(now_ms() - datetime.now(UTC).timestamp() * 1000) < 5_000
