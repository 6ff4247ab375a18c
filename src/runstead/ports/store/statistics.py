"""How much is queued and under way: counted up to a bound, for whoever looks."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Depth(NamedTuple):
    """Of one project, what may be claimed now, what later on, what runs and what waits. A sum of `available` and `delayed`,
    a `running` or a `waiting` that is as large as the bound may be larger in truth.
    """

    project_id: str
    available: int
    delayed: int
    running: int
    waiting: int


class Statistics(Protocol):
    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        """One for each project, in their order. At most `most` queued runs are looked at, whichever, and at most so many
        counted of those that run and of those that wait.
        """
        ...
