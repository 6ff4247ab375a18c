"""Workers and their sessions."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.idempotency import Idempotency
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import HeldRun, Session, TokenHolder, VersionCount, Worker
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, quick_command, scan
from runstead.engines.sql.steps import Steps, changed, execute, first, select, select_page
from runstead.engines.sql.targets import put_targets, remove_targets
from runstead.ports.store import ListPage


class SqlWorkers(SqlNoun):
    @command
    def register(
        self,
        now: int,
        worker: Worker,
        token: bytes,
        idempotency: Idempotency = None,
        *,
        issuer: str | None = None,
        targets: Sequence[TargetDefinition] | None = None,
    ) -> Steps[Worker]:
        new = replace(worker, last_heartbeat_at=now, silent_at=None)
        (stored,) = yield from select("register_worker", Worker, **fields(new))
        yield from execute(
            "add_worker_token", hash=token, worker_id=stored.id, issuer=issuer, expires_at=_expiry(now)
        )
        yield from execute("drop_worker_tokens", worker_id=stored.id, kept=limits.worker_tokens_max)
        if targets is not None:
            yield from put_targets(stored.project_id, stored.id, targets, now)
        return stored

    async def by_token(self, token: bytes) -> TokenHolder | None:
        return await self._database.read(first, "worker_by_token", TokenHolder, hash=token)

    @command
    def remove(self, _now: int, worker_id: str) -> Steps[bool]:
        # Locked first, as by a registration, which may be adding a token.
        worker = yield from first("lock_worker", Worker, id=worker_id)
        if worker is None:
            return False
        yield from execute("remove_worker_tokens", worker_id=worker_id)
        yield from execute("remove_worker", id=worker_id)
        yield from remove_targets(worker.project_id, worker_id)
        yield from changed(worker, None)
        return True

    async def get(self, worker_id: str) -> Worker | None:
        return await self._database.read(first, "worker", Worker, id=worker_id)

    @quick_command
    def heartbeat(self, now: int, worker_id: str, idempotency: Idempotency = None) -> Steps[Worker | None]:
        worker = yield from first("worker_heartbeat", Worker, now=now, id=worker_id)
        yield from _extend_tokens([worker_id], now)
        return worker

    @command
    def touch(self, now: int, worker_ids: Sequence[str]) -> Steps[None]:
        yield from execute("workers_heard", now=now, ids=list(worker_ids))
        yield from _extend_tokens(worker_ids, now)

    @command
    def fell_silent(self, now: int, limit: int) -> Steps[list[Worker]]:
        before = now - limits.worker_silence_s * 1000
        workers = yield from select("workers_fell_silent", Worker, now=now, before=before, limit=limit)
        return sorted(workers, key=lambda worker: worker.last_heartbeat_at or 0)

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> ListPage[Worker]:
        kind, key = after or ("", "")
        return await self._database.page(
            select_page,
            "workers_page",
            Worker,
            project_id=project_id,
            after_kind=kind,
            after_key=key,
            limit=limit,
            silent=silent,
        )

    @scan
    def versions(self, project_id: str) -> Steps[list[VersionCount]]:
        online = yield from select("worker_versions", VersionCount, project_id=project_id)
        counts = {each.version: each for each in online}
        for each in (yield from select("run_versions", VersionCount, project_id=project_id)):
            known = counts.get(each.version, each)
            counts[each.version] = replace(each, workers_online=known.workers_online)
        return sorted(counts.values(), key=lambda each: each.version or "")

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        return await self._database.scan(
            select, "held", HeldRun, project_id=project_id, owners=list(owners), looked_max=looked_max
        )

    @quick_command
    def put_session(
        self, now: int, run_seq: int, session: Session, idempotency: Idempotency = None
    ) -> Steps[Session]:
        ended_at = None if session.status == "active" else now
        new = replace(session, created_at=now, updated_at=now, ended_at=ended_at)
        (stored,) = yield from select("put_session", Session, run_seq=run_seq, **fields(new))
        return stored

    async def session(self, run_seq: int) -> Session | None:
        return await self._database.read(first, "session", Session, run_seq=run_seq)


def _expiry(now: int) -> int:
    return now + limits.worker_token_s * 1000


def _extend_tokens(worker_ids: Sequence[str], now: int) -> Steps[None]:
    """Extend the valid tokens of workers whose rows this transaction has locked."""
    until = _expiry(now)
    early = until - limits.worker_token_renewal_s * 1000
    yield from execute("extend_worker_tokens", ids=list(worker_ids), now=now, early=early, until=until)
