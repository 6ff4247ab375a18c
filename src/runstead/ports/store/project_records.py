"""Records that a project keeps: triggers, webhooks and alert rules."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from runstead.core.idempotency import Idempotency

R = TypeVar("R")

Count = Callable[[int], None]
"""Raises if a project may have no more of a noun. It gets their current number under lock."""

Change: TypeAlias = Callable[[R, int], R]
"""(record, now) → the changed record; the same object if nothing changes."""


class ProjectRecords(Protocol[R]):
    async def create(self, record: R, guard: Count, idempotency: Idempotency = None) -> R:
        """Store a record. The guard gets the number of the project's records."""

    async def get(self, project_id: str, record_id: str) -> R | None: ...

    async def change(
        self, project_id: str, record_id: str, decide: Change[R], idempotency: Idempotency = None
    ) -> R:
        """Change a record under lock. NOT_FOUND."""

    async def delete(self, project_id: str, record_id: str) -> bool:
        """Delete a record with what belongs to it, but no run. Returns whether it existed."""
