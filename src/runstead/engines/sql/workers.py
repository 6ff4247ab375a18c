"""Workers and their sessions."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.worker import HeldRun, Session, Worker
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import Database, Steps, execute, first, select


class SqlWorkers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self, worker: Worker, token: bytes, idempotency: IdempotencyRecord | None = None
    ) -> Worker:
        def register(now: int) -> Steps[Worker]:
            new = replace(worker, last_heartbeat_at=now, silent_at=None)
            (stored,) = yield from select("register_worker", Worker, **fields(new))
            yield from execute("add_worker_token", hash=token, worker_id=stored.id)
            yield from execute("drop_worker_tokens", worker_id=stored.id, kept=limits.worker_tokens_max)
            return stored

        return await self._database.write(register, idempotency)

    async def by_token(self, token: bytes) -> Worker | None:
        return await self._database.read(first, "worker_by_token", Worker, hash=token)

    async def get(self, worker_id: str) -> Worker | None:
        return await self._database.read(first, "worker", Worker, id=worker_id)

    async def heartbeat(self, worker_id: str, idempotency: IdempotencyRecord | None = None) -> Worker | None:
        return await self._database.write(
            lambda now: first("worker_heartbeat", Worker, now=now, id=worker_id), idempotency, quick=True
        )

    async def touch(self, worker_ids: Sequence[str]) -> None:
        await self._database.write(lambda now: execute("workers_heard", now=now, ids=list(worker_ids)))

    async def fell_silent(self, limit: int) -> list[Worker]:
        def mark(now: int) -> Steps[list[Worker]]:
            before = now - limits.worker_silence_s * 1000
            workers = yield from select("workers_fell_silent", Worker, now=now, before=before, limit=limit)
            return sorted(workers, key=lambda worker: worker.last_heartbeat_at or 0)

        return await self._database.write(mark)

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> list[Worker]:
        kind, key = after or ("", "")
        return await self._database.scan(
            select,
            "workers_page",
            Worker,
            project_id=project_id,
            after_kind=kind,
            after_key=key,
            limit=limit,
            silent=silent,
        )

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        return await self._database.scan(
            select, "held", HeldRun, project_id=project_id, owners=list(owners), looked_max=looked_max
        )

    async def put_session(
        self, run_seq: int, session: Session, idempotency: IdempotencyRecord | None = None
    ) -> Session:
        def put(now: int) -> Steps[Session]:
            ended_at = None if session.status == "active" else now
            new = replace(session, created_at=now, updated_at=now, ended_at=ended_at)
            (stored,) = yield from select("put_session", Session, run_seq=run_seq, **fields(new))
            return stored

        return await self._database.write(put, idempotency, quick=True)

    async def session(self, run_seq: int) -> Session | None:
        return await self._database.read(first, "session", Session, run_seq=run_seq)
