"""Whole lists for commands that show all rows."""

from collections.abc import Callable
from typing import Any


def every_page(page: Callable[[str | None], Any], member: str = "data") -> list[Any]:
    """Return the rows of all pages. `page` reads the page at a cursor, None for the first one."""
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        found = page(cursor)
        rows += getattr(found, member)
        cursor = found.page_info.next
        if cursor is None:
            return rows
