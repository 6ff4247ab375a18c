"""Workers, their tokens and their sessions in memory."""

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.worker import HeldRun, Session, TokenHolder, Worker
from runstead.ports.store import ListPage, Workers
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows

Name = tuple[str, str, str]


def _name(worker: Worker) -> tuple[str, str]:
    return worker.implementation_kind, worker.worker_key


class ModelWorkers(Workers):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows
        self._workers: dict[str, Worker] = {}
        self._ids: dict[Name, str] = {}
        self._tokens: dict[str, list[bytes]] = {}  # newest last
        self._holders: dict[bytes, tuple[str, str | None, int]] = {}  # worker id, issuer, expiry
        self._sessions = rows.sessions

    async def register(
        self,
        worker: Worker,
        token: bytes,
        idempotency: IdempotencyRecord | None = None,
        *,
        issuer: str | None = None,
    ) -> Worker:
        name = (worker.project_id, worker.implementation_kind, worker.worker_key)

        def plan(now: int) -> tuple[Worker, Effect]:
            known = self._workers.get(self._ids.get(name, ""))
            stored = replace(worker, last_heartbeat_at=now, silent_at=None)
            if known is not None:
                stored = replace(
                    stored,
                    id=known.id,
                    created_at=known.created_at,
                    display_name=worker.display_name or known.display_name,
                    implementation_display_name=(
                        worker.implementation_display_name or known.implementation_display_name
                    ),
                    metadata=worker.metadata or known.metadata,
                )

            def effect() -> None:
                self._workers[stored.id] = stored
                self._ids[name] = stored.id
                self._add_token(stored.id, token)
                self._holders[token] = (stored.id, issuer, now + limits.worker_token_s * 1000)

            return stored, effect

        return self._journal.write(idempotency, plan)

    def _add_token(self, worker_id: str, token: bytes) -> None:
        tokens = [known for known in self._tokens.get(worker_id, []) if known != token]
        tokens.append(token)
        for old in tokens[: -limits.worker_tokens_max]:
            del self._holders[old]
        self._tokens[worker_id] = tokens[-limits.worker_tokens_max :]

    async def by_token(self, token: bytes) -> TokenHolder | None:
        if token not in self._holders:
            return None
        worker_id, issuer, expires_at = self._holders[token]
        return TokenHolder(**asdict(self._workers[worker_id]), issuer=issuer, expires_at=expires_at)

    def _extend_tokens(self, worker_id: str, now: int) -> None:
        until = now + limits.worker_token_s * 1000
        for token in self._tokens[worker_id]:
            _, issuer, expires_at = self._holders[token]
            if issuer is not None and now < expires_at < until - limits.worker_token_renewal_s * 1000:
                self._holders[token] = (worker_id, issuer, until)

    async def remove(self, worker_id: str) -> bool:
        def plan(_: int) -> tuple[bool, Effect]:
            def effect() -> None:
                worker = self._workers.pop(worker_id, None)
                if worker is not None:
                    del self._ids[worker.project_id, worker.implementation_kind, worker.worker_key]
                    for token in self._tokens.pop(worker_id):
                        del self._holders[token]

            return worker_id in self._workers, effect

        return self._journal.write(None, plan)

    async def get(self, worker_id: str) -> Worker | None:
        return self._workers.get(worker_id)

    async def heartbeat(self, worker_id: str, idempotency: IdempotencyRecord | None = None) -> Worker | None:
        def plan(now: int) -> tuple[Worker | None, Effect]:
            worker = self._workers.get(worker_id)
            if worker is None:
                return None, lambda: None
            seen = replace(worker, last_heartbeat_at=now, updated_at=now, silent_at=None)

            def effect() -> None:
                self._workers[worker_id] = seen
                self._extend_tokens(worker_id, now)

            return seen, effect

        return self._journal.write(idempotency, plan)

    async def touch(self, worker_ids: Sequence[str]) -> None:
        for worker_id in worker_ids:
            await self.heartbeat(worker_id)

    async def fell_silent(self, limit: int) -> list[Worker]:
        def plan(now: int) -> tuple[list[Worker], Effect]:
            before = now - limits.worker_silence_s * 1000
            found = [
                (worker.last_heartbeat_at, worker)
                for worker in self._workers.values()
                if worker.silent_at is None
                and worker.last_heartbeat_at is not None
                and worker.last_heartbeat_at < before
            ]
            found.sort(key=lambda pair: pair[0])
            silent = [replace(worker, silent_at=now) for _, worker in found[:limit]]
            return silent, lambda: self._workers.update({worker.id: worker for worker in silent})

        return self._journal.write(None, plan)

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> ListPage[Worker]:
        found = [
            worker
            for worker in self._workers.values()
            if worker.project_id == project_id
            and silent in (None, worker.silent_at is not None)
            and (after is None or _name(worker) > after)
        ]
        return ListPage(sorted(found, key=_name)[:limit], len(found) > limit)

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        due = [
            run for run in (self._rows.runs[seq] for seq in self._rows.due) if run.project_id == project_id
        ]
        soonest = sorted(due, key=lambda run: (run.due_at or 0, run.seq))[:looked_max]
        return [
            HeldRun(
                run.lease_owner,
                run.run_id,
                run.title,
                run.target,
                run.status,
                run.attempt,
                run.attempt_started_at,
                run.lease_expires_at,
            )
            for run in sorted(soonest, key=lambda run: (run.attempt_started_at or 0, run.seq))
            if run.lease_owner in owners and run.lease_owner is not None and run.lease_expires_at is not None
        ]

    async def put_session(
        self, run_seq: int, session: Session, idempotency: IdempotencyRecord | None = None
    ) -> Session:
        def plan(now: int) -> tuple[Session, Effect]:
            known = self._sessions.get(run_seq, {}).get(session.worker_id)
            stored = replace(session, created_at=now, updated_at=now, ended_at=None)
            if session.status != "active":
                stored = replace(stored, ended_at=(known and known.ended_at) or now)
            if known is not None:
                stored = replace(
                    stored,
                    id=known.id,
                    created_at=known.created_at,
                    metadata=session.metadata or known.metadata,
                )
            return stored, lambda: self._sessions.setdefault(run_seq, {}).update({stored.worker_id: stored})

        return self._journal.write(idempotency, plan)

    async def session(self, run_seq: int) -> Session | None:
        sessions = self._sessions.get(run_seq, {}).values()
        return max(sessions, key=lambda session: session.updated_at, default=None)
