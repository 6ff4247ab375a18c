"""Workers, their tokens and their sessions."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.idempotency import Idempotency
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import HeldRun, Session, TokenHolder, VersionCount, Worker
from runstead.ports.store.list_page import ListPage


class Workers(Protocol):
    async def register(
        self,
        worker: Worker,
        token: bytes,
        idempotency: Idempotency = None,
        *,
        issuer: str | None = None,
        targets: Sequence[TargetDefinition] | None = None,
    ) -> Worker:
        """Store the worker, or update the one with the same (project, implementation_kind, worker_key), and
        add the hash of the token and its issuer. The newest `limits.worker_tokens_max` tokens stay valid. A
        registration counts as a heartbeat.

        A token expires after `limits.worker_token_s`. Each heartbeat extends the tokens that have an issuer and
        have not expired. `targets` replace those that the worker serves; None keeps them.
        """

    async def by_token(self, token: bytes) -> TokenHolder | None:
        """Return the worker of a token, also of an expired one."""

    async def remove(self, worker_id: str) -> bool:
        """Delete the worker and its tokens. Returns whether it existed. Its sessions stay."""

    async def get(self, worker_id: str) -> Worker | None: ...

    async def heartbeat(self, worker_id: str, idempotency: Idempotency = None) -> Worker | None: ...

    async def touch(self, worker_ids: Sequence[str]) -> None:
        """Record a heartbeat for each of the workers."""

    async def fell_silent(self, limit: int) -> list[Worker]:
        """Set `silent_at` of at most `limit` workers without a heartbeat for `limits.worker_silence_s`, and
        return them, longest silence first. Each silence is returned once, to one caller. The next heartbeat
        ends it.
        """

    async def page(
        self, project_id: str, after: tuple[str, str] | None, limit: int, *, silent: bool | None = None
    ) -> ListPage[Worker]:
        """Return a project's workers after `after`, sorted by (implementation_kind, worker_key): at most
        `limits.list_page_bytes_max` of them. `silent` filters them; None returns all.
        """

    async def versions(self, project_id: str) -> list[VersionCount]:
        """Count the project's workers that are online, and its runs that have not ended, by the version of the code.

        Sorted by version. Versions with neither are left out.
        """

    async def held(self, project_id: str, owners: Sequence[str], looked_max: int) -> list[HeldRun]:
        """Return the runs of a project that the owners (ids of workers or push services) have leased, oldest
        attempt first.

        Only the `looked_max` runs of the project with the earliest deadlines are read. Leases are short, so a
        leased run is missed only if very many other deadlines come before its own.
        """

    async def put_session(self, run_seq: int, session: Session, idempotency: Idempotency = None) -> Session:
        """Store or update the session of a run and worker.

        `ended_at` is set when the status changes from active.
        """

    async def session(self, run_seq: int) -> Session | None:
        """Return the newest session of the run."""
