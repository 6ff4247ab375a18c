"""The programs that runs are pushed to."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService


class PushServices(Protocol):
    """Services carry `active` as of the call, by `push_service.is_active`."""

    async def register(
        self, service: PushService, idempotency: IdempotencyRecord | None = None
    ) -> PushService:
        """Store it, or update the one with the same (registrant, service_key): its id and its creation stay. It
        counts as heard of now, and a disabled one is enabled.
        """
        ...

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, idempotency: IdempotencyRecord | None = None
    ) -> PushService | None:
        """Heard of now. `reach` replaces the projects that it reaches, None leaves them."""
        ...

    async def fell_silent(self, limit: int) -> list[PushService]:
        """Services that nobody disabled and that are active no more, since they were not heard of for so long; `limit`
        at most, the longest silent ones first. Each silence is given once, to one caller; the next sign of life ends it.
        """
        ...

    async def disable(self, service_id: str) -> PushService | None:
        """The first time stays. Only a registration enables it again."""
        ...

    async def get(self, service_id: str) -> PushService | None: ...

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        """The services that reach one of the projects, oldest first."""
        ...
