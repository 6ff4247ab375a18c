"""The index by which runs are found."""

from typing import Protocol


class RunIndex(Protocol):
    async def advance(self) -> int:
        """Work in some changes, or else index the next block; how many runs were looked at, 0 where all is done."""
        ...

    async def faults(self, after: int) -> tuple[list[str], int | None]:
        """What is wrong in the next block of runs with a seq over `after`, each as a sentence, and how far was looked
        (None: to the end).
        """
        ...
