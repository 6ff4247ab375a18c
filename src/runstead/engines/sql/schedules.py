"""Schedules: reads and edits, and what the transactions of runs do with them."""

from collections.abc import Iterable, Sequence

from msgspec.structs import asdict

from runstead.core.errors import not_found
from runstead.core.idempotency import Idempotency
from runstead.core.runs.run import Run
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import Schedule, ended
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, paged
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    execute_many,
    first,
    lock,
    now,
    rewrite,
    select,
    select_page,
    value,
)
from runstead.ports.store import Change, DecideNew, DecideSync, ListPage, ScheduleQuery


class SqlSchedules(SqlNoun):
    @command
    def create(
        self, time: int, project_id: str, decide: DecideNew, idempotency: Idempotency = None
    ) -> Steps[Schedule]:
        yield from lock(LockSpace.SCHEDULES, [project_id])
        new = decide((yield from value("count_schedules", project_id=project_id)), time)
        assert new.project_id == project_id
        yield from execute("add_schedule", new)
        yield from changed(None, new)
        return new

    @command
    def change(
        self,
        time: int,
        project_id: str,
        schedule_id: str,
        decide: Change[Schedule],
        idempotency: Idempotency = None,
    ) -> Steps[Schedule]:
        old = (yield from lock_schedules([schedule_id])).get(schedule_id)
        if old is None or old.project_id != project_id:
            raise not_found("Schedule")
        # The transaction that held the lock may have written a time later than this one's beginning.
        new = decide(old, max(time, (yield from now())))
        if new is not old:
            yield from rewrite_schedule(old, new)
            yield from changed(old, new)
        return new

    @command
    def sync(
        self, time: int, project_id: str, decide: DecideSync, idempotency: Idempotency = None
    ) -> Steps[Sync]:
        yield from lock(LockSpace.SCHEDULES, [project_id])
        stored = yield from select("lock_standing_schedules", Schedule, project_id=project_id)
        synced = decide(stored, max(time, (yield from now())))
        by_id = {schedule.id: schedule for schedule in stored}
        for new in (*synced.updated, *synced.removed):
            yield from rewrite_schedule(by_id[new.id], new)
            yield from changed(by_id[new.id], new)
        yield from execute_many("add_schedule", map(fields, synced.created))
        for new in synced.created:
            yield from changed(None, new)
        return synced

    async def now(self) -> int:
        return await self._database.read(now)

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        return await self._database.read(first, "schedule", Schedule, id=schedule_id, project_id=project_id)

    @paged
    def page(self, query: ScheduleQuery) -> Steps[ListPage[Schedule]]:
        at, after_id = query.after or (-1, "")
        filters = asdict(query) | {"after_at": at, "after_id": after_id}
        return select_page("schedules_page", Schedule, **filters)


def lock_schedules(ids: Iterable[str]) -> Steps[dict[str, Schedule]]:
    """Id → schedule, of those that exist."""
    stored = yield from select("lock_schedules", Schedule, ids=sorted(set(ids)))
    return {schedule.id: schedule for schedule in stored}


def rewrite_schedule(old: Schedule, new: Schedule) -> Steps[None]:
    """Write the fields that differ, guarded by the version that was read."""
    assert new.version > old.version
    yield from rewrite("schedules", old, new, versioned=True)


def delete_schedule(schedule: Schedule) -> Steps[None]:
    written = yield from execute("delete_schedule", id=schedule.id, version=schedule.version)
    assert written == 1, f"schedule {schedule.id} was not at version {schedule.version}"


def record_ends(runs: Sequence[Run]) -> Steps[None]:
    """Write the outcome of runs that have just ended to their schedules, in the order of their ends."""
    stored = yield from lock_schedules(run.schedule_id for run in runs if run.schedule_id is not None)
    after = dict(stored)
    for run in runs:
        schedule = after.get(run.schedule_id or "")
        if schedule is not None and schedule.project_id == run.project_id:
            after[schedule.id] = ended(schedule, run)
    for schedule_id, old in stored.items():
        if after[schedule_id] is not old:
            yield from rewrite_schedule(old, after[schedule_id])
