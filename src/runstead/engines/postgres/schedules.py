"""Schedules in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.run import Run
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import SCHEDULE_FIELDS, Schedule, ended
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import CLOCK, INSERT_SCHEDULE, SCHEDULES_OF, Q, update_schedule
from runstead.ports.store import DecideNew, DecideSchedule, DecideSync, ScheduleQuery


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
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def create(
        self, project_id: str, decide: DecideNew, idempotency: IdempotencyRecord | None = None
    ) -> Schedule:
        async def job(connection: Connection, now: int) -> Schedule:
            await connection.execute(Q["lock_names"], SCHEDULES_OF, [project_id])
            made = decide(await connection.fetchval(Q["count_schedules"], project_id), now)
            assert made.project_id == project_id
            await connection.execute(INSERT_SCHEDULE, *astuple(made))
            return made

        return await self._writer.do(idempotent(job, idempotency))

    async def change(
        self,
        project_id: str,
        schedule_id: str,
        decide: DecideSchedule,
        idempotency: IdempotencyRecord | None = None,
    ) -> Schedule:
        async def job(connection: Connection, now: int) -> Schedule:
            old = (await lock(connection, [schedule_id])).get(schedule_id)
            if old is None or old.project_id != project_id:
                raise not_found("Schedule")
            # The lock may have been waited for, and what it was held for is told by the clock after it.
            new = decide(old, max(now, await self._moment(connection)))
            if new is not old:
                await rewrite(connection, old, new)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def sync(
        self, project_id: str, decide: DecideSync, idempotency: IdempotencyRecord | None = None
    ) -> Sync:
        async def job(connection: Connection, now: int) -> Sync:
            await connection.execute(Q["lock_names"], SCHEDULES_OF, [project_id])
            rows = await connection.fetch(Q["lock_standing_schedules"], project_id)
            known = {row[0]: Schedule(*row) for row in rows}
            synced = decide(list(known.values()), max(now, await self._moment(connection)))
            for new in (*synced.updated, *synced.removed):
                await rewrite(connection, known[new.id], new)
            for made in synced.created:
                await connection.execute(INSERT_SCHEDULE, *astuple(made))
            return synced

        return await self._writer.do(idempotent(job, idempotency))

    async def now(self) -> int:
        return await self._readers.do(self._moment)

    async def _moment(self, connection: Connection) -> int:
        return self._clock.tick(await connection.fetchval(f"SELECT {CLOCK}"))

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        row = await self._readers.row(Q["schedule"], schedule_id, project_id)
        return None if row is None else Schedule(*row)

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        arguments = (query.project_id, query.status, query.source_trigger_id, query.limit)
        return [Schedule(*row) for row in await self._readers.rows(Q["schedules_page"], *arguments)]
