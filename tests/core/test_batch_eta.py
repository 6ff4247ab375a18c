"""The estimate of a batch's time left."""

from hypothesis import given, strategies as st

from runstead.core.batches.eta import Eta, Sample, time_left_ms

MINUTE = 60_000


def test_the_estimate_uses_the_rate_of_ended_runs():
    assert time_left_ms(Sample(0, 0), Sample(10_000, 20), 40) == 20_000
    assert time_left_ms(Sample(5_000, 10), Sample(6_000, 11), 3) == 3_000


def test_the_estimate_is_rounded_up():
    assert time_left_ms(Sample(0, 0), Sample(10, 3), 1) == 4


def test_without_an_ended_run_there_is_no_estimate():
    assert time_left_ms(Sample(0, 3), Sample(10_000, 3), 5) is None
    assert time_left_ms(Sample(0, 0), Sample(0, 3), 5) is None


def test_without_remaining_runs_the_estimate_is_zero():
    assert time_left_ms(Sample(0, 0), Sample(0, 0), 0) == 0


@given(st.integers(1, 10**9), st.integers(1, 1_000), st.integers(1, 1_000))
def test_an_estimate_is_never_too_short(took, ended, left):
    estimate = time_left_ms(Sample(0, 0), Sample(took, ended), left)
    assert (estimate - 1) * ended < left * took <= estimate * ended


def test_without_a_start_the_rate_counts_from_the_first_sample():
    eta = Eta()
    assert eta.time_left_ms(50, 100, 100_000) is None
    assert eta.time_left_ms(50, 100, 101_000) is None
    assert eta.time_left_ms(55, 100, 110_000) == 90_000
    assert eta.time_left_ms(100, 100, 120_000) == 0
    assert Eta().time_left_ms(0, 0, 1_000) == 0


def test_a_single_estimate_uses_the_rate_since_the_start():
    assert Eta().time_left_ms(10, 30, 11_000, started_at=1_000) == 20_000


def test_a_watched_batch_uses_the_rate_of_the_last_minute():
    eta = Eta()
    for second in range(121):  # ten runs a second for a minute, then one
        ended = 10 * min(second, 60) + max(0, second - 60)
        left = eta.time_left_ms(ended, 1_000, second * 1_000, started_at=0)
    assert left == (1_000 - 660) * 1_000


def test_in_the_first_minute_the_rate_is_since_the_start():
    eta = Eta()
    start = -10 * MINUTE
    assert eta.time_left_ms(600, 660, 0, start) == MINUTE
    assert eta.time_left_ms(600, 660, 30_000, start) == 63_000


def test_a_batch_without_progress_for_a_minute_has_no_estimate():
    eta = Eta()
    estimates = [eta.time_left_ms(5, 10, at, started_at=0) for at in (10_000, 40_000, 71_000)]
    assert estimates == [10_000, 40_000, None]


def test_a_clock_that_is_behind_gives_no_estimate():
    assert Eta().time_left_ms(1, 2, 1_000, started_at=5_000) is None
