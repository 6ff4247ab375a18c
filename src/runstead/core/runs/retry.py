"""Is there another attempt, and when."""

from runstead.core import limits


def attempts_left(attempts_lost: int, backoff_limit: int | None, default: int) -> bool:
    """Whether a run that lost `attempts_lost` attempts gets another. `default` stands in for no limit given."""
    return attempts_lost <= (default if backoff_limit is None else backoff_limit)


def backoff_ms(attempts_lost: int, dice: float) -> int:
    """How long to hold the run back after its n-th lost attempt, in ms: 1 s doubling to 5 min, with jitter.

    `dice` in [0, 1) spreads the wait over the upper half of the step, so that runs lost together do not return
    together, and never return at once.
    """
    step = min(limits.backoff_ms_first << min(max(attempts_lost - 1, 0), 20), limits.backoff_ms_max)
    return round(step / 2 + step / 2 * dice)
