"""Deleted runs whose artifacts are still to be removed."""

from collections.abc import Sequence
from typing import Protocol


class ArtifactTombstones(Protocol):
    """Whichever way a run with artifacts is deleted, its uid is put here in the same transaction."""

    async def some(self, limit: int) -> list[str]:
        """Uids of runs, `limit` at most."""
        ...

    async def drop(self, uids: Sequence[str]) -> None:
        """Their artifacts are gone."""
        ...
