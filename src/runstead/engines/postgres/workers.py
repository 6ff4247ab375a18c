"""Workers and their sessions in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.worker import HeldRun, Session, Worker
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.columns import from_session, to_held


class PostgresWorkers:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def register(
        self, worker: Worker, token: bytes, idempotency: IdempotencyRecord | None = None
    ) -> Worker:
        async def job(connection: Connection, now: int) -> Worker:
            values = (*astuple(worker)[:-2], now)
            stored = Worker(*await connection.fetchrow(Q["register_worker"], *values))
            await connection.execute(Q["add_token"], token, stored.id)
            await connection.execute(Q["drop_tokens"], stored.id, limits.worker_tokens_max)
            return stored

        return await self._writer.do(idempotent(job, idempotency))

    async def by_token(self, token: bytes) -> Worker | None:
        return await self._one("worker_by_token", token)

    async def get(self, worker_id: str) -> Worker | None:
        return await self._one("worker", worker_id)

    async def _one(self, query: str, argument: str | bytes) -> Worker | None:
        row = await self._readers.row(Q[query], argument)
        return None if row is None else Worker(*row)

    async def heartbeat(self, worker_id: str, idempotency: IdempotencyRecord | None = None) -> Worker | None:
        async def job(connection: Connection, now: int) -> Worker | None:
            row = await connection.fetchrow(Q["worker_heartbeat"], now, worker_id)
            return None if row is None else Worker(*row)

        return await self._writer.do(idempotent(job, idempotency))

    async def touch(self, worker_ids: Sequence[str]) -> None:
        await self._writer.do(lambda c, now: c.execute(Q["workers_heard"], now, list(worker_ids)))

    async def fell_silent(self, limit: int) -> list[Worker]:
        async def job(connection: Connection, now: int) -> list[Worker]:
            before = now - limits.worker_silence_s * 1000
            rows = await connection.fetch(Q["workers_fell_silent"], now, before, limit)
            return sorted((Worker(*row) for row in rows), key=lambda worker: worker.last_heartbeat_at or 0)

        return await self._writer.do(job)

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> list[Worker]:
        rows = await self._readers.rows(Q["workers_page"], project_id, *(after or ("", "")), limit, silent)
        return [Worker(*row) for row in rows]

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        rows = await self._readers.rows(Q["held"], project_id, list(owners), looked_max)
        return [to_held(row) for row in rows]

    async def put_session(
        self, run_seq: int, session: Session, idempotency: IdempotencyRecord | None = None
    ) -> Session:
        async def job(connection: Connection, now: int) -> Session:
            return Session(*await connection.fetchrow(Q["put_session"], *from_session(run_seq, session, now)))

        return await self._writer.do(idempotent(job, idempotency))

    async def session(self, run_seq: int) -> Session | None:
        row = await self._readers.row(Q["session"], run_seq)
        return None if row is None else Session(*row)
