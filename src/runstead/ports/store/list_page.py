"""A page of a list."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class ListPage(msgspec.Struct, Generic[T], frozen=True):
    """Rows of a list. `more`: whether more rows follow.

    A page ends by rows, or before the row with which it exceeds a bound in bytes. It has at least one row if more
    follow.
    """

    rows: list[T]
    more: bool

    @classmethod
    def of(cls, found: Sequence[T], limit: int) -> "ListPage[T]":
        """Return the page of the first `limit` rows. One row more was read, to see whether more follow."""
        return cls(list(found[:limit]), len(found) > limit)
