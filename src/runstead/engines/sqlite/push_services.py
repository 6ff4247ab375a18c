"""Push services in SQLite."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService
from runstead.engines.sql.columns import from_service, to_service
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


def _to_service(row: tuple[Any, ...], now: int) -> PushService:
    *values, reach = row
    return to_service(values, sorted(msgspec.json.decode(reach)), now)


def services_reaching(
    connection: sqlite3.Connection, project_ids: Sequence[str], now: int
) -> list[PushService]:
    rows = connection.execute(Q["push_services_reaching"], (encode(project_ids).decode(),))
    return [_to_service(row, now) for row in rows]


def _get(connection: sqlite3.Connection, service_id: str, now: int) -> PushService | None:
    row = connection.execute(Q["push_service"], (service_id,)).fetchone()
    return None if row is None else _to_service(row, now)


def _put_reach(connection: sqlite3.Connection, service_id: str, reach: Sequence[str]) -> None:
    given = (encode(reach).decode(), service_id, limits.push_services_per_project_max)
    if connection.execute(Q["crowded_push_projects"], given).fetchone() is not None:
        raise Error(
            "TOO_MANY_PUSH_SERVICES",
            f"A project has at most {limits.push_services_per_project_max} push services: register under the "
            "service_key of one that is there",
        )
    connection.execute(Q["drop_reach"], (service_id,))
    connection.executemany(Q["add_reach"], [(project_id, service_id) for project_id in reach])


class SqlitePushServices:
    def __init__(self, writer: Writer, readers: Readers, clock: Callable[[], int]) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def register(
        self, service: PushService, idempotency: IdempotencyRecord | None = None
    ) -> PushService:
        def job(connection: sqlite3.Connection, now: int) -> PushService:
            values = (*from_service(service), now)
            (service_id,) = connection.execute(Q["register_push_service"], values).fetchone()
            _put_reach(connection, service_id, service.reach)
            stored = _get(connection, service_id, now)
            assert stored is not None
            return stored

        return await self._writer.do(idempotent(job, idempotency))

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, idempotency: IdempotencyRecord | None = None
    ) -> PushService | None:
        def job(connection: sqlite3.Connection, now: int) -> PushService | None:
            known = connection.execute(Q["push_service_heartbeat"], (now, service_id)).rowcount == 1
            if known and reach is not None:
                _put_reach(connection, service_id, reach)
            return _get(connection, service_id, now)

        return await self._writer.do(idempotent(job, idempotency))

    async def fell_silent(self, limit: int) -> list[PushService]:
        def job(connection: sqlite3.Connection, now: int) -> list[PushService]:
            given = (now, now - limits.push_service_silence_s * 1000, limit)
            ids = [row[0] for row in connection.execute(Q["push_services_fell_silent"], given)]
            found = [service for service in (_get(connection, each, now) for each in ids) if service]
            return sorted(found, key=lambda service: service.last_heartbeat_at)

        return await self._writer.do(job)

    async def disable(self, service_id: str) -> PushService | None:
        def job(connection: sqlite3.Connection, now: int) -> PushService | None:
            connection.execute(Q["disable_push_service"], (now, service_id))
            return _get(connection, service_id, now)

        return await self._writer.do(job)

    async def get(self, service_id: str) -> PushService | None:
        return await self._readers.do(lambda c: _get(c, service_id, self._clock()))

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        return await self._readers.do(lambda c: services_reaching(c, project_ids, self._clock()))
