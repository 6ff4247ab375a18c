"""The index of runs, which speeds up filtered lists."""

from typing import Protocol


class RunIndex(Protocol):
    async def advance(self) -> int:
        """Apply some changes to the index, or index the next block.

        Returns the number of runs read, 0 if nothing is left.
        """

    async def faults(self, after: int) -> tuple[list[str], int | None]:
        """Check the next block of runs with a seq greater than `after`. Returns a sentence for each fault,
        and the last checked seq (None: the end was reached).
        """
