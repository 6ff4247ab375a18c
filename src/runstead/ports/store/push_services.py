"""Push services."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.idempotency import Idempotency
from runstead.core.queue.push_service import PushService
from runstead.ports.store.list_page import ListPage


class PushServices(Protocol):
    """In returned services, `active` is computed at the time of the call by `push_service.is_active`."""

    async def register(self, service: PushService, idempotency: Idempotency = None) -> PushService:
        """Store the service, or update the one with the same (registrant, service_key), whose id and creation
        time stay.

        A registration counts as a heartbeat and enables a disabled service.
        """

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, idempotency: Idempotency = None
    ) -> PushService | None:
        """Record a heartbeat.

        `reach` replaces the projects that the service reaches; None leaves them unchanged.
        """

    async def record_call(self, service_id: str, run_id: str, error: str | None) -> None:
        """Record the outcome of a call to the service about a run. `error` is None if the service accepted it."""

    async def fell_silent(self, limit: int) -> list[PushService]:
        """Return at most `limit` enabled services whose heartbeats have stopped, longest silence first.

        Each silence is returned once, to one caller. The next heartbeat ends it.
        """

    async def disable(self, service_id: str) -> PushService | None:
        """Disable the service.

        The time of the first call stays. `enable` or a registration enables the service again.
        """

    async def enable(self, service_id: str) -> PushService | None:
        """Enable a disabled service. It is active if its last heartbeat is recent."""

    async def delete(self, service_id: str) -> bool:
        """Delete the service. Its next registration makes a new one. Return whether it existed."""

    async def get(self, service_id: str) -> PushService | None: ...

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        """Return the services that reach at least one of the projects, oldest first."""

    async def page(
        self, project_ids: Sequence[str], limit: int, after: tuple[int, str] | None = None
    ) -> ListPage[PushService]:
        """Return some of them, at most `limits.list_page_bytes_max`, but one at least.

        `after` is (created_at, id) of the last service of the previous page.
        """
