"""Schedules in the transactions of runs, in PostgreSQL."""

from collections.abc import Sequence

from runstead.core.runs.run import Run
from runstead.core.schedules.schedule import Schedule
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.sql import schedules
from runstead.engines.sql.steps import select


async def lock(connection: Connection, ids: Sequence[str]) -> dict[str, Schedule]:
    """Id → schedule, for those that exist."""
    return await DRIVER.run(connection, schedules.lock_schedules(ids))


async def rewrite(connection: Connection, old: Schedule, new: Schedule) -> None:
    """Write the changed fields if the version is still the one that was read."""
    await DRIVER.run(connection, schedules.rewrite_schedule(old, new))


async def due(connection: Connection, now: int, limit: int) -> list[Schedule]:
    """Lock due schedules; skip those that another replica has locked."""
    return await DRIVER.run(connection, select("due_schedules", Schedule, now=now, limit=limit))


async def remove(connection: Connection, schedule: Schedule) -> None:
    await DRIVER.run(connection, schedules.delete_schedule(schedule))


async def note_ends(connection: Connection, runs: Sequence[Run]) -> None:
    """Write the outcome of runs that have just ended to their schedules, in the order of their ends."""
    await DRIVER.run(connection, schedules.record_ends(runs))
