"""Schedules in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.postgres.connection import Connection
from runstead.postgres.readers import Readers
from runstead.postgres.seals import sealed
from runstead.postgres.sql import INSERT_SCHEDULE, SCHEDULES_OF, Q, update_schedule
from runstead.postgres.writer import Writer
from runstead.run import Run
from runstead.schedule import SCHEDULE_FIELDS, Schedule, ended
from runstead.seal import Seal
from runstead.store import Count, ScheduleQuery


async def lock(connection: Connection, ids: Sequence[str]) -> dict[str, Schedule]:
    """Those that are there, by id."""
    rows = await connection.fetch(Q["lock_schedules"], sorted(set(ids)))
    return {row[0]: Schedule(*row) for row in rows}


async def rewrite(connection: Connection, old: Schedule, new: Schedule) -> None:
    """Write what differs, guarded by the version that was read."""
    assert new.version > old.version
    changed = tuple(name for name in SCHEDULE_FIELDS if getattr(old, name) != getattr(new, name))
    values = [getattr(new, name) for name in changed]
    written = await connection.execute(update_schedule(changed), old.id, old.version, *values)
    assert written == "UPDATE 1", f"schedule {old.id} was not at version {old.version}"


async def note_ends(connection: Connection, runs: Sequence[Run]) -> None:
    """Tell the schedules of runs that have just ended how it went, in the order of their ends."""
    held = await lock(connection, [run.schedule_id for run in runs if run.schedule_id is not None])
    now = dict(held)
    for run in runs:
        schedule = now.get(run.schedule_id or "")
        if schedule is not None and schedule.project_id == run.project_id:
            now[schedule.id] = ended(schedule, run)
    for name, old in held.items():
        if now[name] is not old:
            await rewrite(connection, old, now[name])


class PostgresSchedules:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, schedule: Schedule, guard: Count, seal: Seal | None = None) -> Schedule:
        async def job(connection: Connection, _now: int) -> Schedule:
            await connection.execute(Q["lock_names"], SCHEDULES_OF, [schedule.project_id])
            guard(await connection.fetchval(Q["count_schedules"], schedule.project_id))
            await connection.execute(INSERT_SCHEDULE, *astuple(schedule))
            return schedule

        return await self._writer.do(sealed(job, seal))

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        row = await self._readers.row(Q["schedule"], schedule_id, project_id)
        return None if row is None else Schedule(*row)

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        arguments = (query.project_id, query.status, query.source_trigger_id, query.limit)
        return [Schedule(*row) for row in await self._readers.rows(Q["schedules_page"], *arguments)]
