"""Triggers."""

from collections.abc import Callable
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import Trigger
from runstead.ports.store.identity import Count

DecideTrigger = Callable[[Trigger, int], Trigger]
"""(trigger, now) → the trigger as it shall be; the very object where nothing changes."""


class Triggers(Protocol):
    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        """The guard gets the number of the project's triggers."""
        ...

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None: ...

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        """The trigger, enabled or not, that has this token."""
        ...

    async def page(self, project_id: str, limit: int) -> list[Trigger]:
        """Oldest first."""
        ...

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        """NOT_FOUND."""
        ...

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        """Whether it was there. The runs that it started stay."""
        ...
