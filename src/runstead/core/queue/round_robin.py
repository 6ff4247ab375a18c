"""Round robin: serve several queues in turn, so that a long queue starves no other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: An engine first reads this many times the wanted rows, ordered by time. It probes each queue only if there
#: are more.
SCAN_FACTOR: Final = 4


def needs_probes(soonest: Sequence[Any], most: int, limit: int) -> bool:
    """Whether each project must be probed to find the `limit` rows that come next.

    `soonest` holds the first `most` rows by time, each (project, time, ...). It is enough if it is complete,
    or if it has `limit` projects: then each of these projects gives its earliest row, and all other rows are
    later.
    """
    return len(soonest) == most and len({row[0] for row in soonest}) < limit


def probe_sizes(limit: int) -> Iterator[int]:
    """Yield how many rows of each queue to read, until `limit` rows were found.

    The first probe is small, because there may be thousands of queues. The last one reads `limit` rows of
    each, because all queues but one may be short.
    """
    size = 2
    while size < limit:
        yield size
        size *= 8
    yield limit


def interleave(queues: Sequence[Sequence[T]], order: Callable[[T], Any]) -> Iterator[T]:
    """Yield the first item of every queue, then the second of every queue, and so on.

    The items of one round are sorted by `order`.
    """
    position = 0
    while items := [queue[position] for queue in queues if position < len(queue)]:
        yield from sorted(items, key=order)
        position += 1
