"""Triggers: addresses that start a run when they are called."""

from runstead.core.schedules.trigger import Trigger
from runstead.engines.sql.project_records import SqlProjectRecords
from runstead.engines.sql.steps import LockSpace, first, select, select_page
from runstead.ports.store import ListPage


class SqlTriggers(SqlProjectRecords[Trigger]):
    _record = Trigger
    _noun = "trigger"
    _lock_space = LockSpace.TRIGGERS

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        return await self._database.read(first, "trigger_by_token", Trigger, token_hash=token_hash)

    async def by_event(self, project_id: str, name: str) -> list[Trigger]:
        return await self._database.read(
            select, "triggers_by_event", Trigger, project_id=project_id, name=name
        )

    async def page(
        self, project_id: str, limit: int, after: tuple[int, str] | None = None
    ) -> ListPage[Trigger]:
        at, after_id = after or (-1, "")
        return await self._database.page(
            select_page,
            "triggers_page",
            Trigger,
            project_id=project_id,
            after_at=at,
            after_id=after_id,
            limit=limit,
        )
