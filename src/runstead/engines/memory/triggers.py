"""Triggers in memory."""

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.schedules.trigger import Trigger
from runstead.engines.memory.journal import Effect, Journal
from runstead.ports.store import Count, DecideTrigger, Triggers


class MemoryTriggers(Triggers):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._triggers: dict[str, Trigger] = {}

    def _of_project(self, project_id: str) -> list[Trigger]:
        return [one for one in self._triggers.values() if one.project_id == project_id]

    async def create(
        self, trigger: Trigger, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Trigger:
        def plan(_: int) -> tuple[Trigger, Effect]:
            assert trigger.id not in self._triggers, trigger.id
            guard(len(self._of_project(trigger.project_id)))
            return trigger, lambda: self._triggers.update({trigger.id: trigger})

        return self._journal.write(idempotency, plan)

    async def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        found = self._triggers.get(trigger_id)
        return found if found is not None and found.project_id == project_id else None

    async def by_token(self, token_hash: bytes) -> Trigger | None:
        return next((one for one in self._triggers.values() if one.token_hash == token_hash), None)

    async def page(self, project_id: str, limit: int) -> list[Trigger]:
        return sorted(self._of_project(project_id), key=lambda one: (one.created_at, one.id))[:limit]

    async def change(
        self,
        project_id: str,
        trigger_id: str,
        decide: DecideTrigger,
        idempotency: IdempotencyRecord | None = None,
    ) -> Trigger:
        def plan(now: int) -> tuple[Trigger, Effect]:
            old = self._triggers.get(trigger_id)
            if old is None or old.project_id != project_id:
                raise not_found("Trigger")
            new = decide(old, now)
            return new, lambda: self._triggers.update({trigger_id: new})

        return self._journal.write(idempotency, plan)

    async def delete(self, project_id: str, trigger_id: str) -> bool:
        def plan(_: int) -> tuple[bool, Effect]:
            found = self._triggers.get(trigger_id)
            if found is None or found.project_id != project_id:
                return False, lambda: None
            return True, lambda: self._triggers.pop(trigger_id)

        return self._journal.write(None, plan)
