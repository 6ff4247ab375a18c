"""Retries of calls: whether a call is sent again, and after which delay."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from runstead.sdk.errors import RunsteadError


@dataclass(frozen=True)
class Retries:
    """How often calls are retried, with full jitter.

    Before retry n the client waits a random time between 0 and `first_delay_s` doubled n times, at most `max_delay_s`.
    There are at most `times` retries. The delay is added to a Retry-After of the server, so that clients of an overloaded
    server do not return at the same moment, and later each time. One above `max_retry_after_s` raises the error instead.
    `jitter` returns numbers from 0 to 1. `now` returns seconds since 1970, for a Retry-After that is a date.
    """

    times: int = 5
    first_delay_s: float = 0.25
    max_delay_s: float = 10.0
    max_retry_after_s: float = 60.0
    jitter: Callable[[], float] = random.random
    now: Callable[[], float] = time.time

    def delay_s(self, retries: int, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait before the next retry, after `retries` retries."""
        # The exponent is bounded, so that the power stays finite. 2 to the 30th is above every sensible maximum.
        most = float(min(self.max_delay_s, self.first_delay_s * 2 ** min(retries, 30)))
        return (retry_after_s or 0.0) + self.jitter() * most

    def retry_after_s(self, header: str | None) -> float | None:
        """Parse a Retry-After header (RFC 9110, 10.2.3): seconds, or an HTTP date. Return seconds from now."""
        if header is None:
            return None
        text = header.strip()
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(at.timestamp() - self.now(), 0.0)


class Backoff:
    """Counts the failures of one operation in a row, and computes the delay before the next attempt."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self.failures = 0

    def reset(self) -> None:
        """Forget the failures after a success."""
        self.failures = 0

    def next_delay_s(self, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after another failure, without a limit on their number."""
        self.failures += 1
        return self._retries.delay_s(self.failures - 1, retry_after_s)

    def next_delay_or_raise(self, error: RunsteadError, *, retryable: bool) -> float:
        """Return the seconds to wait after this error.

        Raise the error where it is not retryable, where its Retry-After is too long, and after the last retry.
        """
        too_long = (error.retry_after_s or 0.0) > self._retries.max_retry_after_s
        if not retryable or too_long or self.failures >= self._retries.times:
            raise error
        return self.next_delay_s(error.retry_after_s)
