"""Workers, their tokens and their sessions."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.worker import HeldRun, Session, Worker


class Workers(Protocol):
    async def register(
        self, worker: Worker, token: bytes, idempotency: IdempotencyRecord | None = None
    ) -> Worker:
        """Store it, or update the one with the same (project, implementation_kind, worker_key), and add the token's
        hash. The newest `limits.worker_tokens_max` tokens of a worker stay good. It counts as heard of now.
        """
        ...

    async def by_token(self, token: bytes) -> Worker | None: ...

    async def get(self, worker_id: str) -> Worker | None: ...

    async def heartbeat(
        self, worker_id: str, idempotency: IdempotencyRecord | None = None
    ) -> Worker | None: ...

    async def touch(self, worker_ids: Sequence[str]) -> None:
        """Other signs of life: they count as heard of now."""
        ...

    async def fell_silent(self, limit: int) -> list[Worker]:
        """Set `silent_at` of those that were not heard of for `limits.worker_silence_s`, `limit` at most, the longest
        silent ones first. Each silence is given once, to one caller; the next sign of life ends it.
        """
        ...

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> list[Worker]:
        """A project's workers by (implementation_kind, worker_key), those beyond `after`; all, or (not) silent ones."""
        ...

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        """The runs of a project that one of these owners (ids of workers or push services) has a lease on, the attempt that
        began first first. Looked for among the `looked_max` runs of the project whose deadlines come soonest: a lease is
        short, so that only very many other deadlines before its end can hide it.
        """
        ...

    async def put_session(
        self, run_seq: int, session: Session, idempotency: IdempotencyRecord | None = None
    ) -> Session:
        """One session per run and worker: the same one is updated. `ended_at` is set when its status leaves active."""
        ...

    async def session(self, run_seq: int) -> Session | None:
        """The newest session of a run."""
        ...
