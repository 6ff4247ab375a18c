"""Artifact tombstones: deleted runs whose artifacts must still be deleted."""

from collections.abc import Sequence
from typing import Protocol


class ArtifactTombstones(Protocol):
    """Every deletion of a run with artifacts adds the uid of the run in the same transaction."""

    async def some(self, limit: int) -> list[str]:
        """Return at most `limit` uids of runs, in any order."""

    async def drop(self, uids: Sequence[str]) -> None:
        """Remove tombstones after the artifacts were deleted."""
