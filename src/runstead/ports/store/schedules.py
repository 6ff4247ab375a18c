"""Schedules. How their times make runs is `Runs.fire`."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import Schedule, ScheduleStatus

DecideNew = Callable[[int, int], Schedule]
"""(how many schedules the project has, now) → the one to store; raises where there may be no more."""

DecideSchedule = Callable[[Schedule, int], Schedule]
"""(schedule, now) → as it shall be. The very object that it got: nothing is written."""

DecideSync = Callable[[Sequence[Schedule], int], Sync]
"""(the project's schedules, now) → what becomes of them."""


class ScheduleQuery(msgspec.Struct, frozen=True):
    """Schedules of one project; None filters nothing."""

    project_id: str
    limit: int
    status: ScheduleStatus | None = None
    source_trigger_id: str | None = None


class Schedules(Protocol):
    async def create(
        self, project_id: str, decide: DecideNew, idempotency: IdempotencyRecord | None = None
    ) -> Schedule:
        """Count under lock, decide, store. Those that are being deleted are not counted."""
        ...

    async def change(
        self,
        project_id: str,
        schedule_id: str,
        decide: DecideSchedule,
        idempotency: IdempotencyRecord | None = None,
    ) -> Schedule:
        """Load under lock, decide, write. NOT_FOUND."""
        ...

    async def sync(
        self, project_id: str, decide: DecideSync, idempotency: IdempotencyRecord | None = None
    ) -> Sync:
        """Decide about all of a project's schedules at once, those left out that are being deleted, and write what was
        decided in one transaction. Two calls for one project are decided one after the other.
        """
        ...

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None: ...

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        """Oldest first."""
        ...

    async def now(self) -> int:
        """The time, in ms, by the engine's clock."""
        ...
