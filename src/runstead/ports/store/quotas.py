"""Quotas of projects, and the use that they limit."""

from typing import Protocol

from runstead.core.identity.quota import Quota


class Quotas(Protocol):
    async def put(self, quota: Quota) -> Quota:
        """Store the quotas of a project, or replace them. `updated_at` is the engine's time."""

    async def changed_since(self, updated_at: int) -> list[Quota]:
        """Return the quotas of all projects that were stored at this time or later, earliest first."""

    async def runs_pending(self, project_id: str, most: int) -> int:
        """Count the project's runs that wait for a worker: up to `most`."""

    async def artifact_bytes(self, project_id: str) -> int:
        """Return the number of bytes of the project's stored artifacts."""

    async def keys_and_members(self, project_id: str) -> tuple[int, int]:
        """Count the project's valid keys and its members."""
