"""Retries: whether a run gets another attempt, and after how long."""

from runstead.core import limits


def attempts_left(attempts_lost: int, backoff_limit: int | None, default: int) -> bool:
    """Whether a run that lost `attempts_lost` attempts gets another.

    `default` applies if the run has no limit.
    """
    return attempts_lost <= (default if backoff_limit is None else backoff_limit)


def backoff_ms(attempts_lost: int, dice: float) -> int:
    """Return the delay after the n-th lost attempt, in ms: 1 s doubling to 5 min, with jitter.

    `dice` in [0, 1) spreads the delay over the upper half of the step, so that runs that were lost together
    do not return together.
    """
    step = min(limits.backoff_ms_first << min(max(attempts_lost - 1, 0), 20), limits.backoff_ms_max)
    return round(step / 2 + step / 2 * dice)
