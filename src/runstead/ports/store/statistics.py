"""Statistics of queues: how many runs are queued, running and waiting, and since when, up to a bound."""

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


class QueueAge(NamedTuple):
    """For how long the oldest run of a target could have been claimed. `project` is the slug; `target` may be empty."""

    project: str
    target: str
    age_ms: int


class Measured(NamedTuple):
    """What `/metrics` shows of the queues: (slug, depth) of projects, and ages of targets."""

    depths: Sequence[tuple[str, Depth]]
    ages: Sequence[QueueAge]


class Sizes(NamedTuple):
    """Bytes of the database and of its write-ahead log, None if this server may not read the latter."""

    database: int
    wal: int | None


class PoolUse(NamedTuple):
    """The use of a pool of connections: how many it may use, how many are in use, and how many tasks wait for one."""

    name: str
    size: int
    used: int
    waiting: int


class Statistics(Protocol):
    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        """Return one row for each project, in their order. At most `most` queued, running and waiting runs of
        each project are counted.
        """

    async def measured(self, projects_max: int, runs_max: int, queues_max: int) -> Measured:
        """Return the depths of the oldest `projects_max` projects, counted up to `runs_max`, and the age of the
        oldest available run of each target: of `queues_max` projects with queued runs, and as many targets of each.
        """
