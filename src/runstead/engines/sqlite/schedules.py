"""Schedules in SQLite."""

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from msgspec.structs import astuple

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.run import Run
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import SCHEDULE_FIELDS, Schedule, ended
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import DecideNew, DecideSchedule, DecideSync, ScheduleQuery

_COLUMNS: Final = ", ".join(SCHEDULE_FIELDS)
_INSERT: Final = f"INSERT INTO schedules ({_COLUMNS}) VALUES ({', '.join('?' for _ in SCHEDULE_FIELDS)})"  # noqa: S608
_BY_ID: Final = f"SELECT {_COLUMNS} FROM schedules WHERE id = ? AND project_id = ?"  # noqa: S608
_PAGE: Final = (
    f"SELECT {_COLUMNS} FROM schedules "  # noqa: S608 - our own names
    "WHERE project_id = ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR source_trigger_id = ?3) "
    "ORDER BY created_at, id LIMIT ?4"
)
_STANDING: Final = (
    f"SELECT {_COLUMNS} FROM schedules WHERE project_id = ? AND status <> 'deleting' ORDER BY created_at, id"  # noqa: S608
)
_COUNT: Final = "SELECT count(*) FROM schedules WHERE project_id = ? AND status <> 'deleting'"
_DUE: Final = (
    f"SELECT {_COLUMNS} FROM schedules "  # noqa: S608 - our own names
    "WHERE next_fire_at IS NOT NULL AND next_fire_at <= ? ORDER BY next_fire_at, id LIMIT ?"
)


@cache
def _update(changed: tuple[str, ...]) -> str:
    columns = ", ".join(f"{name} = ?" for name in changed)
    return f"UPDATE schedules SET {columns} WHERE id = ? AND version = ?"  # noqa: S608 - our own names


def load(connection: sqlite3.Connection, schedule_id: str, project_id: str) -> Schedule | None:
    row = connection.execute(_BY_ID, (schedule_id, project_id)).fetchone()
    return None if row is None else Schedule(*row)


def rewrite(connection: sqlite3.Connection, old: Schedule, new: Schedule) -> None:
    """Write what differs, guarded by the version that was read."""
    assert new.version > old.version
    changed = tuple(name for name in SCHEDULE_FIELDS if getattr(old, name) != getattr(new, name))
    values: list[Any] = [getattr(new, name) for name in changed]
    written = connection.execute(_update(changed), (*values, old.id, old.version)).rowcount
    assert written == 1, f"schedule {old.id} was not at version {old.version}"


def due(connection: sqlite3.Connection, now: int, limit: int) -> list[Schedule]:
    return [Schedule(*row) for row in connection.execute(_DUE, (now, limit))]


def remove(connection: sqlite3.Connection, schedule: Schedule) -> None:
    arguments = (schedule.id, schedule.version)
    written = connection.execute("DELETE FROM schedules WHERE id = ? AND version = ?", arguments).rowcount
    assert written == 1, f"schedule {schedule.id} was not at version {schedule.version}"


def note_end(connection: sqlite3.Connection, run: Run) -> None:
    """Tell the schedule of a run that has just ended how it went."""
    assert run.schedule_id is not None
    old = load(connection, run.schedule_id, run.project_id)
    if old is not None and (new := ended(old, run)) is not old:
        rewrite(connection, old, new)


class SqliteSchedules:
    def __init__(self, writer: Writer, readers: Readers, clock: Callable[[], int]) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def create(
        self, project_id: str, decide: DecideNew, idempotency: IdempotencyRecord | None = None
    ) -> Schedule:
        def job(connection: sqlite3.Connection, now: int) -> Schedule:
            made = decide(connection.execute(_COUNT, (project_id,)).fetchone()[0], now)
            assert made.project_id == project_id
            connection.execute(_INSERT, astuple(made))
            return made

        return await self._writer.do(idempotent(job, idempotency))

    async def change(
        self,
        project_id: str,
        schedule_id: str,
        decide: DecideSchedule,
        idempotency: IdempotencyRecord | None = None,
    ) -> Schedule:
        def job(connection: sqlite3.Connection, now: int) -> Schedule:
            old = load(connection, schedule_id, project_id)
            if old is None:
                raise not_found("Schedule")
            new = decide(old, now)
            if new is not old:
                rewrite(connection, old, new)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def sync(
        self, project_id: str, decide: DecideSync, idempotency: IdempotencyRecord | None = None
    ) -> Sync:
        def job(connection: sqlite3.Connection, now: int) -> Sync:
            known = {row[0]: Schedule(*row) for row in connection.execute(_STANDING, (project_id,))}
            synced = decide(list(known.values()), now)
            for new in (*synced.updated, *synced.removed):
                rewrite(connection, known[new.id], new)
            connection.executemany(_INSERT, [astuple(made) for made in synced.created])
            return synced

        return await self._writer.do(idempotent(job, idempotency))

    async def now(self) -> int:
        return self._clock()

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None:
        return await self._readers.do(lambda c: load(c, schedule_id, project_id))

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        arguments = (query.project_id, query.status, query.source_trigger_id, query.limit)
        return await self._readers.do(lambda c: [Schedule(*row) for row in c.execute(_PAGE, arguments)])
