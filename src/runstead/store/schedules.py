"""Schedules."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from runstead.schedule import Schedule, ScheduleStatus
from runstead.seal import Seal

Count = Callable[[int], None]
"""Raises where there may be no more: it gets how many there are, under lock."""


class ScheduleQuery(msgspec.Struct, frozen=True):
    """Schedules of one project; None filters nothing."""

    project_id: str
    limit: int
    status: ScheduleStatus | None = None
    source_trigger_id: str | None = None


class Schedules(Protocol):
    async def create(self, schedule: Schedule, guard: Count, seal: Seal | None = None) -> Schedule:
        """The guard gets the number of the project's schedules."""
        ...

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None: ...

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        """Oldest first."""
        ...
