import pytest
from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.runs.retry import attempts_left, backoff_ms

lost = st.integers(1, 10_000)
dice = st.floats(0, 1, exclude_max=True)


@given(lost, dice)
def test_a_backoff_is_between_half_a_second_and_five_minutes(lost, dice):
    assert 500 <= backoff_ms(lost, dice) <= limits.backoff_ms_max == 300_000


@given(lost, dice)
def test_a_backoff_lies_in_the_upper_half_of_its_step(lost, dice):
    step = min(1_000 * 2 ** (lost - 1), 300_000)
    assert step / 2 <= backoff_ms(lost, dice) <= step


@given(lost, dice, dice)
def test_a_backoff_never_decreases_with_attempts_or_dice(lost, one, other):
    low, high = sorted((one, other))
    assert backoff_ms(lost, low) <= backoff_ms(lost, high) <= backoff_ms(lost + 1, high)


def test_the_steps_double_from_one_second_to_five_minutes():
    steps = [2 * backoff_ms(lost, 0.0) for lost in range(1, 12)]
    assert steps == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]


@pytest.mark.parametrize(
    ("attempts", "limit", "left"),
    [(1, None, True), (3, None, True), (4, None, False), (1, 0, False), (1, 1, True), (2, 1, False)],
)
def test_a_run_has_another_attempt_while_it_lost_no_more_than_the_limit(attempts, limit, left):
    assert attempts_left(attempts, limit, default=3) is left
