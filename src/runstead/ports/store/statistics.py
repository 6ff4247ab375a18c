"""Statistics of queues: how many runs are queued, running and waiting, counted up to a bound."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Depth(NamedTuple):
    """The runs of one project: available now, delayed, running and waiting.

    If `running`, `waiting` or the sum of `available` and `delayed` equals the bound, the real number may be
    larger.
    """

    project_id: str
    available: int
    delayed: int
    running: int
    waiting: int


class Statistics(Protocol):
    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        """Return one row for each project, in their order. At most `most` queued, running and waiting runs of
        each project are counted.
        """
        ...
