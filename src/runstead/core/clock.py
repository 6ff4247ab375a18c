"""Times: integer milliseconds since 1970 UTC, shown as ISO 8601 with milliseconds and `Z`."""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


#: Linux's `CLOCK_MONOTONIC`, which is `time.monotonic()`, stops while the machine sleeps. On macOS it
#: continues.
_ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_s() -> float:
    """Seconds since an arbitrary moment, including the time in which the process was stopped or the machine slept."""
    return time.clock_gettime(_ELAPSED)


@lru_cache(maxsize=4_096)  # the runs of one answer, and of many, share their seconds
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4_096)  # the answers to the requests of a run repeat its times
def iso(ms: int) -> str:
    """1774008000000 → `2026-03-20T12:00:00.000Z`"""
    seconds, millis = divmod(ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


def iso_or_none(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)


def to_ms(moment: datetime) -> int:
    """Convert a datetime with a time zone to ms. Fractions of a millisecond are cut off."""
    assert moment.tzinfo is not None
    return (moment - _EPOCH) // timedelta(milliseconds=1)  # timestamp() is a float: 65.109 s would lose a ms
