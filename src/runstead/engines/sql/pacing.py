"""Long work in a thread beside the event loop."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from runstead.core import limits

T = TypeVar("T")


def paced(items: Iterable[T], each: int = 32) -> Iterator[T]:
    """Yield the items and sleep after every `each` of them, a fraction of a ms of work.

    Releasing the GIL without a sleep is not enough: the event loop releases it at every SQLite statement, and would then
    wait for a piece of this work each time.
    """
    for number, item in enumerate(items):
        if number % each == 0:
            time.sleep(limits.paced_pause_s)
        yield item
