"""Triggers in PostgreSQL."""

from typing import Final

from msgspec.structs import astuple

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import TRIGGER_FIELDS, Trigger
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.rows import rewrite
from runstead.engines.postgres.sql import TRIGGERS_OF, Q
from runstead.ports.store import Count, DecideTrigger

_COLUMNS: Final = ", ".join(TRIGGER_FIELDS)
_INSERT: Final = (
    f"INSERT INTO triggers ({_COLUMNS})"  # noqa: S608 - our own names
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(TRIGGER_FIELDS) + 1))})"
)
_BY_ID: Final = f"SELECT {_COLUMNS} FROM triggers WHERE id = $1 AND project_id = $2"  # noqa: S608
_BY_TOKEN: Final = f"SELECT {_COLUMNS} FROM triggers WHERE token_hash = $1"  # noqa: S608
_PAGE: Final = f"SELECT {_COLUMNS} FROM triggers WHERE project_id = $1 ORDER BY created_at, id LIMIT $2"  # noqa: S608
_COUNT: Final = "SELECT count(*) FROM triggers WHERE project_id = $1"
_DELETE: Final = "DELETE FROM triggers WHERE id = $1 AND project_id = $2 RETURNING 1"


class PostgresTriggers:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        async def job(connection: Connection, _now: int) -> Trigger:
            await connection.execute(Q["lock_names"], TRIGGERS_OF, [trigger.project_id])
            guard(await connection.fetchval(_COUNT, trigger.project_id))
            await connection.execute(_INSERT, *astuple(trigger))
            return trigger

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        row = await self._readers.row(_BY_ID, trigger_id, project_id)
        return None if row is None else Trigger(*row)

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        row = await self._readers.row(_BY_TOKEN, token_hash)
        return None if row is None else Trigger(*row)

    async def page(self, project_id: str, limit: int) -> list[Trigger]:
        return [Trigger(*row) for row in await self._readers.rows(_PAGE, project_id, limit)]

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        async def job(connection: Connection, now: int) -> Trigger:
            row = await connection.fetchrow(f"{_BY_ID} FOR UPDATE", trigger_id, project_id)
            if row is None:
                raise not_found("Trigger")
            old = Trigger(*row)
            new = decide(old, now)
            await rewrite(connection, "triggers", old, new)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            return await connection.fetchval(_DELETE, trigger_id, project_id) is not None

        return await self._writer.do(job)
