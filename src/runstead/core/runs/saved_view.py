"""Saved views: named filters of the list of runs, of one caller or shared by a project."""

from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.errors import Error

SHARED: Final = ""


class SavedView(msgspec.Struct, frozen=True):
    """A view of a project, found by its owner and name. `owner` is the identity of a caller, or `SHARED`.

    `filters` is the query string of the list of runs.
    """

    project_id: str
    owner: str
    name: str
    filters: str
    created_at: int

    @property
    def shared(self) -> bool:
        return self.owner == SHARED


def checked_name(name: str) -> str:
    """Return the name of a view. INVALID_REQUEST."""
    if not 1 <= len(name) <= limits.saved_view_name_chars_max or not name.isprintable():
        raise Error(
            "INVALID_REQUEST",
            f"The name of a view has 1 to {limits.saved_view_name_chars_max} characters, without control characters",
        )
    return name


def refuse_more_views(count: int) -> None:
    """LIMIT: a caller, and a project, has so many views."""
    if count >= limits.saved_views_max:
        raise Error(
            "INVALID_REQUEST", f"There are {count} views already, and that is the maximum: delete one first"
        )
