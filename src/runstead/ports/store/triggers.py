"""Triggers."""

from typing import Protocol

from runstead.core.schedules.trigger import Trigger
from runstead.ports.store.list_page import ListPage
from runstead.ports.store.project_records import ProjectRecords


class Triggers(ProjectRecords[Trigger], Protocol):
    async def by_token(self, token_hash: bytes) -> Trigger | None:
        """Return the trigger with this token, even if it is disabled."""

    async def by_event(self, project_id: str, name: str) -> list[Trigger]:
        """Return the enabled triggers that events of this name start, oldest first."""

    async def page(
        self, project_id: str, limit: int, after: tuple[int, str] | None = None
    ) -> ListPage[Trigger]:
        """Return triggers, oldest first, at most `limits.list_page_bytes_max` of them, but one at least.

        `after` is (created_at, id) of the last trigger of the previous page.
        """
