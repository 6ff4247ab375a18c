"""When a call is sent again, and after how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retries:
    """Full jitter: before repeat n the client waits a random time between 0 and `first_delay_s` doubled n times.

    `times` repeats at most, `max_delay_s` seconds between two of them. A Retry-After is honoured, with up to `first_delay_s` of
    jitter on top so that clients do not return all at once; one over `max_retry_after_s` seconds raises instead. `jitter`
    answers numbers from 0 to 1, `now` the seconds since 1970 (for a Retry-After that is a date).
    """

    times: int = 5
    first_delay_s: float = 0.25
    max_delay_s: float = 10.0
    max_retry_after_s: float = 60.0
    jitter: Callable[[], float] = random.random
    now: Callable[[], float] = time.time

    def delay_s(self, repeats: int, retry_after_s: float | None = None) -> float:
        """How long to wait before sending again, after `repeats` repeats were already made."""
        if retry_after_s is not None:
            return retry_after_s + self.jitter() * self.first_delay_s
        # 2 to the 30th is past every sensible `max_delay_s`, and keeps the power finite.
        return self.jitter() * float(min(self.max_delay_s, self.first_delay_s * 2 ** min(repeats, 30)))

    def retry_after_s(self, header: str | None) -> float | None:
        """A Retry-After header in seconds from now: it holds a number of seconds or an HTTP date."""
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
