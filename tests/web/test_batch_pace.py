"""How long a batch takes still."""

from hypothesis import given, strategies as st

from runstead.core.batches.batch import Batch
from runstead.web.batches.eta import Mark, Pace, time_left_ms

MINUTE = 60_000


def batch(ended=0, left=0, started_at=0):
    return Batch("b", "p", 0, started_at=started_at, completed=ended, pending=left)


def test_the_estimate_uses_the_rate_of_ended_runs():
    assert time_left_ms(Mark(0, 0), Mark(10_000, 20), 40) == 20_000
    assert time_left_ms(Mark(5_000, 10), Mark(6_000, 11), 3) == 3_000


def test_part_of_a_millisecond_is_a_whole_one():
    assert time_left_ms(Mark(0, 0), Mark(10, 3), 1) == 4


def test_without_an_ended_run_there_is_no_estimate():
    assert time_left_ms(Mark(0, 3), Mark(10_000, 3), 5) is None
    assert time_left_ms(Mark(0, 0), Mark(0, 3), 5) is None


def test_without_remaining_runs_the_estimate_is_zero():
    assert time_left_ms(Mark(0, 0), Mark(0, 0), 0) == 0


@given(st.integers(1, 10**9), st.integers(1, 1_000), st.integers(1, 1_000))
def test_an_estimate_is_never_too_short(took, ended, left):
    estimate = time_left_ms(Mark(0, 0), Mark(took, ended), left)
    assert (estimate - 1) * ended < left * took <= estimate * ended


def test_a_batch_that_has_not_started_has_no_estimate():
    assert Pace().time_left_ms(batch(left=5, started_at=None), 1_000) is None


def test_a_single_estimate_uses_the_rate_since_the_start():
    assert Pace().time_left_ms(batch(ended=10, left=20, started_at=1_000), 11_000) == 20_000


def test_a_watched_batch_uses_the_rate_of_the_last_minute():
    pace = Pace()
    for second in range(121):  # ten runs a second for a minute, then one
        ended = 10 * min(second, 60) + max(0, second - 60)
        left = pace.time_left_ms(batch(ended, 1_000 - ended), second * 1_000)
    assert left == (1_000 - 660) * 1_000


def test_in_the_first_minute_the_rate_is_since_the_start():
    pace = Pace()
    began = -10 * MINUTE
    assert pace.time_left_ms(batch(600, 60, began), 0) == MINUTE
    assert pace.time_left_ms(batch(600, 60, began), 30_000) == 63_000


def test_a_batch_without_progress_for_a_minute_has_no_estimate():
    pace = Pace()
    estimates = [pace.time_left_ms(batch(5, 5), at) for at in (10_000, 40_000, 71_000)]
    assert estimates == [10_000, 40_000, None]


def test_a_clock_that_is_behind_gives_no_estimate():
    assert Pace().time_left_ms(batch(1, 1, started_at=5_000), 1_000) is None
