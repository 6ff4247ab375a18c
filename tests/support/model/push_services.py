"""Push services, and the keys for signing, in memory."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService, is_active
from runstead.ports.store import PushServices
from tests.support.model.journal import Effect, Journal


class ModelPushServices(PushServices):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._services: dict[str, PushService] = {}  # oldest first
        self._silent: dict[str, int] = {}  # those that are known to be, and when they were heard of last

    def _seen(self, service: PushService, now: int) -> PushService:
        active = is_active(service.disabled_at, service.last_heartbeat_at, now)
        return replace(service, active=active, reach=tuple(sorted(service.reach)))

    async def register(
        self, service: PushService, idempotency: IdempotencyRecord | None = None
    ) -> PushService:
        def plan(now: int) -> tuple[PushService, Effect]:
            names = service.registrant, service.service_key
            known = [s for s in self._services.values() if (s.registrant, s.service_key) == names]
            times = {"created_at": now, "updated_at": now, "last_heartbeat_at": now}
            stored = replace(service, **times)
            if known:
                kept = ("id", "created_at", "last_success_at", "last_success_run_id")
                kept += ("last_error_at", "last_error_run_id", "last_error")
                stored = replace(stored, **{name: getattr(known[0], name) for name in kept})
            self._refuse_crowd(stored.id, stored.reach)
            return self._seen(stored, now), lambda: self._services.update({stored.id: stored})

        return self._journal.write(idempotency, plan)

    def _refuse_crowd(self, service_id: str, reach: Iterable[str]) -> None:
        others = [s for s in self._services.values() if s.id != service_id]
        for project_id in reach:
            if sum(project_id in s.reach for s in others) >= limits.push_services_per_project_max:
                raise Error(
                    "TOO_MANY_PUSH_SERVICES",
                    f"A project has at most {limits.push_services_per_project_max} push services",
                )

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, idempotency: IdempotencyRecord | None = None
    ) -> PushService | None:
        def plan(now: int) -> tuple[PushService | None, Effect]:
            known = self._services.get(service_id)
            if known is None:
                return None, lambda: None
            stored = replace(known, last_heartbeat_at=now, updated_at=now)
            if reach is not None:
                self._refuse_crowd(service_id, reach)
                stored = replace(stored, reach=tuple(reach))
            return self._seen(stored, now), lambda: self._services.update({service_id: stored})

        return self._journal.write(idempotency, plan)

    async def record_call(self, service_id: str, run_id: str, error: str | None) -> None:
        def plan(now: int) -> tuple[None, Effect]:
            known = self._services.get(service_id)
            if known is None:
                return None, lambda: None
            if error is None:
                stored = replace(known, last_success_at=now, last_success_run_id=run_id)
            else:
                stored = replace(known, last_error_at=now, last_error_run_id=run_id, last_error=error)
            return None, lambda: self._services.update({service_id: stored})

        return self._journal.write(None, plan)

    async def fell_silent(self, limit: int) -> list[PushService]:
        def plan(now: int) -> tuple[list[PushService], Effect]:
            found = [
                seen
                for seen in (self._seen(service, now) for service in self._services.values())
                if not seen.active
                and seen.disabled_at is None
                and self._silent.get(seen.id) != seen.last_heartbeat_at
            ]
            found = sorted(found, key=lambda one: one.last_heartbeat_at)[:limit]
            return found, lambda: self._silent.update({one.id: one.last_heartbeat_at for one in found})

        return self._journal.write(None, plan)

    async def disable(self, service_id: str) -> PushService | None:
        def plan(now: int) -> tuple[PushService | None, Effect]:
            known = self._services.get(service_id)
            if known is None:
                return None, lambda: None
            at = now if known.disabled_at is None else known.disabled_at
            stored = replace(known, disabled_at=at, updated_at=now)
            return self._seen(stored, now), lambda: self._services.update({service_id: stored})

        return self._journal.write(None, plan)

    async def enable(self, service_id: str) -> PushService | None:
        def plan(now: int) -> tuple[PushService | None, Effect]:
            known = self._services.get(service_id)
            if known is None:
                return None, lambda: None
            stored = replace(known, disabled_at=None, updated_at=now)
            return self._seen(stored, now), lambda: self._services.update({service_id: stored})

        return self._journal.write(None, plan)

    async def delete(self, service_id: str) -> bool:
        def plan(_now: int) -> tuple[bool, Effect]:
            return service_id in self._services, lambda: self._services.pop(service_id, None) and None

        return self._journal.write(None, plan)

    async def get(self, service_id: str) -> PushService | None:
        known = self._services.get(service_id)
        return None if known is None else self._seen(known, self._journal.now())

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        return self.reached(project_ids, self._journal.now())

    def reached(self, project_ids: Sequence[str], now: int) -> list[PushService]:
        wanted = set(project_ids)
        found = (s for s in self._services.values() if not wanted.isdisjoint(s.reach))
        return sorted((self._seen(s, now) for s in found), key=lambda s: (s.created_at, s.id))
