"""Schedules in memory."""

from collections.abc import Iterator

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import Schedule
from runstead.ports.store import Change, DecideNew, DecideSync, ListPage, ScheduleQuery, Schedules
from tests.support.model.journal import Effect, Journal


class ModelSchedules(Schedules):
    def __init__(self, journal: Journal, schedules: dict[str, Schedule]) -> None:
        self._journal = journal
        self._schedules = schedules

    async def create(
        self, project_id: str, decide: DecideNew, idempotency: IdempotencyRecord | None = None
    ) -> Schedule:
        def plan(now: int) -> tuple[Schedule, Effect]:
            made = decide(len(self._standing(project_id)), now)
            assert made.id not in self._schedules, made.id
            assert made.project_id == project_id
            return made, lambda: self._schedules.update({made.id: made})

        return self._journal.write(idempotency, plan)

    async def change(
        self,
        project_id: str,
        schedule_id: str,
        decide: Change[Schedule],
        idempotency: IdempotencyRecord | None = None,
    ) -> Schedule:
        def plan(now: int) -> tuple[Schedule, Effect]:
            old = self._schedules.get(schedule_id)
            if old is None or old.project_id != project_id:
                raise not_found("Schedule")
            new = decide(old, now)
            assert new is old or new.version > old.version
            return new, lambda: self._schedules.update({new.id: new})

        return self._journal.write(idempotency, plan)

    async def sync(
        self, project_id: str, decide: DecideSync, idempotency: IdempotencyRecord | None = None
    ) -> Sync:
        def plan(now: int) -> tuple[Sync, Effect]:
            known = self._standing(project_id)
            synced = decide(list(known.values()), now)
            assert all(one.version > known[one.id].version for one in (*synced.updated, *synced.removed))
            written = (*synced.created, *synced.updated, *synced.removed)
            return synced, lambda: self._schedules.update({one.id: one for one in written})

        return self._journal.write(idempotency, plan)

    def _standing(self, project_id: str) -> dict[str, Schedule]:
        found = [one for one in self._schedules.values() if one.project_id == project_id]
        return {one.id: one for one in found if one.status != "deleting"}

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        found = self._schedules.get(schedule_id)
        return found if found is not None and found.project_id == project_id else None

    async def page(self, query: ScheduleQuery) -> ListPage[Schedule]:
        found = [
            one
            for one in self._schedules.values()
            if one.project_id == query.project_id
            and query.status in (None, one.status)
            and query.source_trigger_id in (None, one.source_trigger_id)
        ]
        found = sorted(found, key=lambda one: (one.created_at, one.id))
        rest = [one for one in found if query.after is None or (one.created_at, one.id) > query.after]
        return ListPage(rest[: query.limit], len(rest) > query.limit)

    def moments(self) -> Iterator[int]:
        """When they fire next: for whoever moves the clock."""
        return (one.next_fire_at for one in self._schedules.values() if one.next_fire_at is not None)

    async def now(self) -> int:
        return self._journal.now()
