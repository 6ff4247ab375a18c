"""Push services in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import CLOCK, PUSHES_TO, Q
from runstead.engines.sql.columns import from_service, to_service


def _to_service(row: Sequence[Any], now: int) -> PushService:
    *values, reach = row
    return to_service(values, reach, now)


async def services_reaching(
    connection: Connection, project_ids: Sequence[str], now: int
) -> list[PushService]:
    rows = await connection.fetch(Q["push_services_reaching"], list(project_ids))
    return [_to_service(row, now) for row in rows]


async def _get(connection: Connection, service_id: str, now: int) -> PushService | None:
    row = await connection.fetchrow(Q["push_service"], service_id)
    return None if row is None else _to_service(row, now)


async def _put_reach(connection: Connection, service_id: str, reach: Sequence[str]) -> None:
    most = limits.push_services_per_project_max
    if await connection.fetchval(Q["crowded_push_projects"], list(reach), service_id, most) is not None:
        raise Error(
            "TOO_MANY_PUSH_SERVICES",
            f"A project has at most {most} push services: register under the service_key of one that is there",
        )
    await connection.execute(Q["drop_reach"], service_id)
    await connection.execute(Q["add_reach"], service_id, list(reach))


class PostgresPushServices:
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def register(
        self, service: PushService, idempotency: IdempotencyRecord | None = None
    ) -> PushService:
        async def job(connection: Connection, now: int) -> PushService:
            await connection.execute(Q["lock_names"], PUSHES_TO, list(service.reach))
            values = (*from_service(service), now)
            service_id = await connection.fetchval(Q["register_push_service"], *values)
            await _put_reach(connection, service_id, service.reach)
            stored = await _get(connection, service_id, now)
            assert stored is not None
            return stored

        return await self._writer.do(idempotent(job, idempotency))

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, idempotency: IdempotencyRecord | None = None
    ) -> PushService | None:
        async def job(connection: Connection, now: int) -> PushService | None:
            if reach is not None:
                await connection.execute(Q["lock_names"], PUSHES_TO, list(reach))
            known = await connection.fetchval(Q["push_service_heartbeat"], now, service_id)
            if known is not None and reach is not None:
                await _put_reach(connection, service_id, reach)
            return await _get(connection, service_id, now)

        return await self._writer.do(idempotent(job, idempotency))

    async def fell_silent(self, limit: int) -> list[PushService]:
        async def job(connection: Connection, now: int) -> list[PushService]:
            before = now - limits.push_service_silence_s * 1000
            rows = await connection.fetch(Q["push_services_fell_silent"], now, before, limit)
            return sorted((_to_service(row, now) for row in rows), key=lambda one: one.last_heartbeat_at)

        return await self._writer.do(job)

    async def disable(self, service_id: str) -> PushService | None:
        async def job(connection: Connection, now: int) -> PushService | None:
            await connection.execute(Q["disable_push_service"], now, service_id)
            return await _get(connection, service_id, now)

        return await self._writer.do(job)

    async def get(self, service_id: str) -> PushService | None:
        async def read(connection: Connection) -> PushService | None:
            return await _get(connection, service_id, await self._now(connection))

        return await self._readers.do(read)

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        async def read(connection: Connection) -> list[PushService]:
            return await services_reaching(connection, project_ids, await self._now(connection))

        return await self._readers.do(read)

    async def _now(self, connection: Connection) -> int:
        return self._clock.tick(await connection.fetchval(f"SELECT {CLOCK}"))  # our own names
