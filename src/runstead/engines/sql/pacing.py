"""Long work in a thread beside the event loop."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from runstead.core import limits

T = TypeVar("T")


def paced(items: Iterable[T], each: int = 32) -> Iterator[T]:
    """For long work in a thread beside the event loop: it sleeps after `each` items, a fraction of a ms of work.

    Letting go of the interpreter without sleeping is not enough: the event loop lets go of it with every statement of
    SQLite, and would then wait for such a piece of work each time.
    """
    for number, item in enumerate(items):
        if number % each == 0:
            time.sleep(limits.paced_pause_s)
        yield item
