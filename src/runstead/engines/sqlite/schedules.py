"""Schedules in the transactions of runs, in SQLite."""

import sqlite3

from runstead.core.runs.run import Run
from runstead.core.schedules.schedule import Schedule
from runstead.engines.sql import schedules
from runstead.engines.sql.steps import first, select
from runstead.engines.sqlite.related import DRIVER


def load(connection: sqlite3.Connection, schedule_id: str, project_id: str) -> Schedule | None:
    return DRIVER.run(connection, first("schedule", Schedule, id=schedule_id, project_id=project_id))


def rewrite(connection: sqlite3.Connection, old: Schedule, new: Schedule) -> None:
    """Write the changed fields if the version is still the one that was read."""
    DRIVER.run(connection, schedules.rewrite_schedule(old, new))


def due(connection: sqlite3.Connection, now: int, limit: int) -> list[Schedule]:
    return DRIVER.run(connection, select("due_schedules", Schedule, now=now, limit=limit))


def remove(connection: sqlite3.Connection, schedule: Schedule) -> None:
    DRIVER.run(connection, schedules.delete_schedule(schedule))


def note_end(connection: sqlite3.Connection, run: Run) -> None:
    """Write the outcome of a run that has just ended to its schedule."""
    assert run.schedule_id is not None
    DRIVER.run(connection, schedules.record_ends([run]))
