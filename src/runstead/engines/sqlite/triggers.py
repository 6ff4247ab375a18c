"""Triggers in SQLite."""

import sqlite3
from typing import Final

from msgspec.structs import astuple

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import TRIGGER_FIELDS, Trigger
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import rewrite
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Count, DecideTrigger

_COLUMNS: Final = ", ".join(TRIGGER_FIELDS)
_INSERT: Final = f"INSERT INTO triggers ({_COLUMNS}) VALUES ({', '.join('?' for _ in TRIGGER_FIELDS)})"  # noqa: S608
_BY_ID: Final = f"SELECT {_COLUMNS} FROM triggers WHERE id = ? AND project_id = ?"  # noqa: S608
_BY_TOKEN: Final = f"SELECT {_COLUMNS} FROM triggers WHERE token_hash = ?"  # noqa: S608
_PAGE: Final = f"SELECT {_COLUMNS} FROM triggers WHERE project_id = ? ORDER BY created_at, id LIMIT ?"  # noqa: S608


def _load(connection: sqlite3.Connection, project_id: str, trigger_id: str) -> Trigger | None:
    row = connection.execute(_BY_ID, (trigger_id, project_id)).fetchone()
    return None if row is None else Trigger(*row)


class SqliteTriggers:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        def job(connection: sqlite3.Connection, _now: int) -> Trigger:
            sql = "SELECT count(*) FROM triggers WHERE project_id = ?"
            guard(connection.execute(sql, (trigger.project_id,)).fetchone()[0])
            connection.execute(_INSERT, astuple(trigger))
            return trigger

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        return await self._readers.do(lambda c: _load(c, project_id, trigger_id))

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        def read(connection: sqlite3.Connection) -> Trigger | None:
            row = connection.execute(_BY_TOKEN, (token_hash,)).fetchone()
            return None if row is None else Trigger(*row)

        return await self._readers.do(read)

    async def page(self, project_id: str, limit: int) -> list[Trigger]:
        return await self._readers.do(
            lambda c: [Trigger(*row) for row in c.execute(_PAGE, (project_id, limit))]
        )

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        def job(connection: sqlite3.Connection, now: int) -> Trigger:
            old = _load(connection, project_id, trigger_id)
            if old is None:
                raise not_found("Trigger")
            new = decide(old, now)
            rewrite(connection, "triggers", old, new)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        sql = "DELETE FROM triggers WHERE id = ? AND project_id = ?"
        return await self._writer.do(lambda c, _: c.execute(sql, (trigger_id, project_id)).rowcount == 1)
