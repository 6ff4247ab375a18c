"""Estimates when a batch ends, from the rate at which its runs have ended. Pure."""

from collections import deque
from typing import Final, NamedTuple

window_ms: Final = 60_000


class Sample(NamedTuple):
    """The number of runs that had ended at a time (ms)."""

    at: int
    ended: int


def time_left_ms(earlier: Sample, now: Sample, left: int) -> int | None:
    """The time until `left` runs have ended, at the rate between two samples.

    None if no run ended between them; 0 if no runs are left.
    """
    if left <= 0:
        return 0
    ended, took = now.ended - earlier.ended, now.at - earlier.at
    if ended <= 0 or took <= 0:
        return None
    return -(-left * took // ended)


class Eta:
    """Estimates the time left of a watched batch.

    The rate is that of the last minute. In the first minute it is the rate since `started_at`, the start of
    the batch's first run, or since the first sample if the caller does not know that time.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def time_left_ms(self, ended: int, total: int, now: int, started_at: int | None = None) -> int | None:
        """Add a sample and return the estimate. None if none can be made."""
        if not self._samples:
            self._samples.append(Sample(now, ended) if started_at is None else Sample(started_at, 0))
        sample = Sample(max(now, self._samples[-1].at), ended)
        # Keep one sample that is at least a minute old, as the start of the window.
        while len(self._samples) > 1 and self._samples[1].at <= sample.at - window_ms:
            self._samples.popleft()
        if sample.at - self._samples[-1].at >= window_ms // 60:
            self._samples.append(sample)
        return time_left_ms(self._samples[0], sample, total - ended)
