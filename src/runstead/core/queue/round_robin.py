"""Taking turns: how several lines that wait for the same thing are served, so that a long one starves no other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: So many times of what may be taken are looked at by time alone. Only where there are more is each line looked at.
LOOKED: Final = 4


def is_crowded(soonest: Sequence[Any], most: int, limit: int) -> bool:
    """Whether the first `most` rows by time, each (project, time, ...), do not show whose turn it is: there are more, and
    too few projects among them. With `limit` projects among them, each has its soonest row taken, and all others are later.
    """
    return len(soonest) == most and len({row[0] for row in soonest}) < limit


def looks(limit: int) -> Iterator[int]:
    """How many of each line to look at, until `limit` were found: few at first, since there may be thousands of lines, and
    as many as may be taken in the end, since all lines but one may be short.
    """
    heads = 2
    while heads < limit:
        yield heads
        heads *= 8
    yield limit


def in_turns(lines: Sequence[Sequence[T]], order: Callable[[T], Any]) -> Iterator[T]:
    """The first of every line, then the second of every line, and so on; those of one round sorted by `order`."""
    place = 0
    while found := [line[place] for line in lines if place < len(line)]:
        yield from sorted(found, key=order)
        place += 1
