"""Taking turns: how several lines that wait for the same thing are served, so that a long one starves no other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def in_turns(lines: Sequence[Sequence[T]], order: Callable[[T], Any]) -> Iterator[T]:
    """The first of every line, then the second of every line, and so on; those of one round sorted by `order`."""
    place = 0
    while found := [line[place] for line in lines if place < len(line)]:
        yield from sorted(found, key=order)
        place += 1
