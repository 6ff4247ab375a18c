"""Schedules in memory."""

from runstead.memory.journal import Effect, Journal
from runstead.schedule import Schedule
from runstead.seal import Seal
from runstead.store import Count, ScheduleQuery, Schedules


class MemorySchedules(Schedules):
    def __init__(self, journal: Journal, schedules: dict[str, Schedule]) -> None:
        self._journal = journal
        self._schedules = schedules

    async def create(self, schedule: Schedule, guard: Count, seal: Seal | None = None) -> Schedule:
        def plan(_: int) -> tuple[Schedule, Effect]:
            assert schedule.id not in self._schedules, schedule.id
            guard(sum(one.project_id == schedule.project_id for one in self._schedules.values()))
            return schedule, lambda: self._schedules.update({schedule.id: schedule})

        return self._journal.write(seal, plan)

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        found = self._schedules.get(schedule_id)
        return found if found is not None and found.project_id == project_id else None

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        found = [
            one
            for one in self._schedules.values()
            if one.project_id == query.project_id
            and query.status in (None, one.status)
            and query.source_trigger_id in (None, one.source_trigger_id)
        ]
        return sorted(found, key=lambda one: (one.created_at, one.id))[: query.limit]
