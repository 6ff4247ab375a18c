"""Workers, their tokens and their sessions."""

from typing import Protocol

from runstead.seal import Seal
from runstead.worker import Session, Worker


class Workers(Protocol):
    async def register(self, worker: Worker, token: bytes, seal: Seal | None = None) -> Worker:
        """Store it, or update the one with the same (project, implementation_kind, worker_key), and add the token's
        hash. The newest `limits.worker_tokens_max` tokens of a worker stay good.
        """
        ...

    async def by_token(self, token: bytes) -> Worker | None: ...

    async def get(self, worker_id: str) -> Worker | None: ...

    async def heartbeat(self, worker_id: str, seal: Seal | None = None) -> Worker | None: ...

    async def put_session(self, run_seq: int, session: Session, seal: Seal | None = None) -> Session:
        """One session per run and worker: the same one is updated. `ended_at` is set when its status leaves active."""
        ...

    async def session(self, run_seq: int) -> Session | None:
        """The newest session of a run."""
        ...
