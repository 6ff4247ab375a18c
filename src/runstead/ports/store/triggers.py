"""Triggers."""

from collections.abc import Callable
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import Trigger
from runstead.ports.store.identity import Count
from runstead.ports.store.list_page import ListPage

DecideTrigger = Callable[[Trigger, int], Trigger]
"""(trigger, now) → the changed trigger; the same object if nothing changes."""


class Triggers(Protocol):
    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        """Store a trigger. The guard gets the number of the project's triggers."""
        ...

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None: ...

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        """Return the trigger with this token, even if it is disabled."""
        ...

    async def by_event(self, project_id: str, name: str) -> list[Trigger]:
        """Return the enabled triggers that events of this name start, oldest first."""
        ...

    async def page(
        self, project_id: str, limit: int, after: tuple[int, str] | None = None
    ) -> ListPage[Trigger]:
        """Return triggers, oldest first, at most `limits.list_page_bytes_max` of them, but one at least.

        `after` is (created_at, id) of the last trigger of the previous page.
        """
        ...

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        """Change a trigger under lock. NOT_FOUND."""
        ...

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        """Delete a trigger. Returns whether it existed. The runs that it started stay."""
        ...
