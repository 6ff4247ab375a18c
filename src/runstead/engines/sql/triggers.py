"""Triggers: addresses that start a run when they are called."""

from runstead.core.errors import existing
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import Trigger
from runstead.engines.sql.steps import (
    Database,
    LockSpace,
    Steps,
    changed,
    execute,
    first,
    lock,
    rewrite,
    select,
    select_page,
    value,
)
from runstead.ports.store import Count, DecideTrigger, ListPage


class SqlTriggers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        def create(_now: int) -> Steps[Trigger]:
            yield from lock(LockSpace.TRIGGERS, [trigger.project_id])
            guard((yield from value("count_triggers", project_id=trigger.project_id)))
            yield from execute("add_trigger", trigger)
            yield from changed(None, trigger)
            return trigger

        return await self._database.write(create, idempotency)

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        return await self._database.read(first, "trigger", Trigger, id=trigger_id, project_id=project_id)

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

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        def change(now: int) -> Steps[Trigger]:
            old = existing(
                (yield from first("lock_trigger", Trigger, id=trigger_id, project_id=project_id)), "Trigger"
            )
            new = decide(old, now)
            yield from rewrite("triggers", old, new)
            yield from changed(old, new)
            return new

        return await self._database.write(change, idempotency)

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        def delete(_now: int) -> Steps[bool]:
            deleted = yield from first("delete_trigger", Trigger, id=trigger_id, project_id=project_id)
            yield from changed(deleted, None)
            return deleted is not None

        return await self._database.write(delete)
