"""Whole lists for the dashboard: read page by page, without the large values that it does not show."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from runstead.ports.store import ListPage


class _Record(Protocol):
    """A record that lists order by (created_at, id)."""

    @property
    def created_at(self) -> int: ...

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)
Position = tuple[int, str]


async def whole_list(
    page: Callable[[Position | None], Awaitable[ListPage[R]]], shorten: Callable[[R], R]
) -> list[R]:
    """Return all records of a list, each as `shorten` returns it. `page` reads the page after a position."""
    found: list[R] = []
    more = True
    while more:
        read = await page((found[-1].created_at, found[-1].id) if found else None)
        found += map(shorten, read.rows)
        more = read.more
    return found
