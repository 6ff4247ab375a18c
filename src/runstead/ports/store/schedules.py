"""Schedules. `Runs.fire` creates their runs."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from runstead.core.idempotency import Idempotency
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import Schedule, ScheduleStatus
from runstead.ports.store.list_page import ListPage
from runstead.ports.store.project_records import Change

DecideNew = Callable[[int, int], Schedule]
"""(number of the project's schedules, now) → the new schedule; it raises if the project may have no more."""

DecideSync = Callable[[Sequence[Schedule], int], Sync]
"""(the project's schedules, now) → their changes."""


class ScheduleQuery(msgspec.Struct, frozen=True):
    """A page of the schedules of a project, at most `limit`. A filter that is None matches all.

    `after` is (created_at, id) of the last schedule of the previous page.
    """

    project_id: str
    limit: int
    status: ScheduleStatus | None = None
    source_trigger_id: str | None = None
    after: tuple[int, str] | None = None


class Schedules(Protocol):
    async def create(self, project_id: str, decide: DecideNew, idempotency: Idempotency = None) -> Schedule:
        """Store a new schedule. The count is taken under lock, without schedules that are being deleted."""

    async def change(
        self, project_id: str, schedule_id: str, decide: Change[Schedule], idempotency: Idempotency = None
    ) -> Schedule:
        """Change a schedule under lock. NOT_FOUND."""

    async def sync(self, project_id: str, decide: DecideSync, idempotency: Idempotency = None) -> Sync:
        """Change all schedules of a project in one transaction, without those that are being deleted. Two
        calls for the same project run one after the other.
        """

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None: ...

    async def page(self, query: ScheduleQuery) -> ListPage[Schedule]:
        """Return schedules, oldest first, at most `limits.list_page_bytes_max` of them, but one at least."""

    async def now(self) -> int:
        """Return the current time in ms by the engine's clock."""
