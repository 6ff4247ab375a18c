"""Saved views of the list of runs."""

from collections.abc import Callable
from typing import Protocol

from runstead.core.runs.saved_view import SavedView


class SavedViews(Protocol):
    async def put(self, view: SavedView, guard: Callable[[int], None]) -> None:
        """Store a view in place of the one with its owner and name. The guard gets the number of the owner's other
        views.
        """

    async def of(self, project_id: str, owner: str) -> list[SavedView]:
        """Return the views of this caller, then those that the project shares, both by name."""

    async def delete(self, project_id: str, owner: str, name: str) -> bool:
        """Delete a view. Returns whether it existed."""
