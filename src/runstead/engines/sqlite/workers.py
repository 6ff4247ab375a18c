"""Workers and their sessions in SQLite."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.worker import HeldRun, Session, Worker
from runstead.engines.sql.columns import from_session, to_held
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


class SqliteWorkers:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def register(
        self, worker: Worker, token: bytes, idempotency: IdempotencyRecord | None = None
    ) -> Worker:
        def job(connection: sqlite3.Connection, now: int) -> Worker:
            values = (*astuple(worker)[:-2], now)
            stored = Worker(*connection.execute(Q["register_worker"], values).fetchone())
            connection.execute(Q["add_token"], (token, stored.id))
            connection.execute(Q["drop_tokens"], (stored.id, limits.worker_tokens_max))
            return stored

        return await self._writer.do(idempotent(job, idempotency))

    async def by_token(self, token: bytes) -> Worker | None:
        return await self._one("worker_by_token", token)

    async def get(self, worker_id: str) -> Worker | None:
        return await self._one("worker", worker_id)

    async def _one(self, query: str, argument: str | bytes) -> Worker | None:
        def read(connection: sqlite3.Connection) -> Worker | None:
            row = connection.execute(Q[query], (argument,)).fetchone()
            return None if row is None else Worker(*row)

        return await self._readers.do(read)

    async def heartbeat(self, worker_id: str, idempotency: IdempotencyRecord | None = None) -> Worker | None:
        def job(connection: sqlite3.Connection, now: int) -> Worker | None:
            row = connection.execute(Q["worker_heartbeat"], (now, worker_id)).fetchone()
            return None if row is None else Worker(*row)

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def touch(self, worker_ids: Sequence[str]) -> None:
        def job(connection: sqlite3.Connection, now: int) -> None:
            connection.executemany(Q["worker_heard"], [(now, worker_id) for worker_id in worker_ids])

        await self._writer.do(job)

    async def fell_silent(self, limit: int) -> list[Worker]:
        def job(connection: sqlite3.Connection, now: int) -> list[Worker]:
            given = (now, now - limits.worker_silence_s * 1000, limit)
            found = [Worker(*row) for row in connection.execute(Q["workers_fell_silent"], given)]
            return sorted(found, key=lambda worker: worker.last_heartbeat_at or 0)

        return await self._writer.do(job)

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> list[Worker]:
        given = (project_id, *(after or ("", "")), limit, silent)
        return await self._readers.do(lambda c: [Worker(*row) for row in c.execute(Q["workers_page"], given)])

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        given = (project_id, encode(owners).decode(), looked_max)
        return await self._readers.do(lambda c: [to_held(row) for row in c.execute(Q["held"], given)])

    async def put_session(
        self, run_seq: int, session: Session, idempotency: IdempotencyRecord | None = None
    ) -> Session:
        def job(connection: sqlite3.Connection, now: int) -> Session:
            return Session(
                *connection.execute(Q["put_session"], from_session(run_seq, session, now)).fetchone()
            )

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def session(self, run_seq: int) -> Session | None:
        def read(connection: sqlite3.Connection) -> Session | None:
            row = connection.execute(Q["session"], (run_seq,)).fetchone()
            return None if row is None else Session(*row)

        return await self._readers.do(read)
