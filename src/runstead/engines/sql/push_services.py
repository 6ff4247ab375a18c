"""Push services, and the projects that each reaches."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import Idempotency
from runstead.core.queue.push_service import PushService, is_active
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, read
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    execute_many,
    first,
    lock,
    now,
    select,
    select_page,
    value,
    values,
)
from runstead.ports.store import ListPage


class SqlPushServices(SqlNoun):
    @command
    def register(
        self, time: int, service: PushService, idempotency: Idempotency = None
    ) -> Steps[PushService]:
        yield from lock(LockSpace.PUSH_SERVICES, service.reach)
        name = {"registrant": service.registrant, "service_key": service.service_key}
        old = yield from first("push_service_by_name", PushService, **name)
        new = replace(service, created_at=time, updated_at=time, last_heartbeat_at=time, disabled_at=None)
        service_id = yield from value("register_push_service", **fields(new))
        yield from _put_reach(service_id, service.reach)
        stored = yield from _service(service_id, time)
        assert stored is not None
        yield from changed(old, stored)
        return stored

    @command
    def heartbeat(
        self, time: int, service_id: str, reach: Sequence[str] | None, idempotency: Idempotency = None
    ) -> Steps[PushService | None]:
        if reach is not None:
            yield from lock(LockSpace.PUSH_SERVICES, reach)
        known = yield from execute("push_service_heartbeat", now=time, id=service_id)
        if known and reach is not None:
            yield from _put_reach(service_id, reach)
        return (yield from _service(service_id, time))

    @command
    def record_call(self, time: int, service_id: str, run_id: str, error: str | None) -> Steps[None]:
        about = {"now": time, "id": service_id, "run_id": run_id}
        if error is None:
            yield from execute("push_service_succeeded", None, **about)
        else:
            yield from execute("push_service_failed", None, **about, error=error)

    @command
    def fell_silent(self, time: int, limit: int) -> Steps[list[PushService]]:
        before = time - limits.push_service_silence_s * 1000
        ids = yield from values("push_services_fell_silent", now=time, before=before, limit=limit)
        services = yield from _services("push_services", time, ids=ids)
        return sorted(services, key=lambda service: service.last_heartbeat_at)

    @command
    def disable(self, time: int, service_id: str) -> Steps[PushService | None]:
        return _switch("disable_push_service", service_id, time)

    @command
    def enable(self, time: int, service_id: str) -> Steps[PushService | None]:
        return _switch("enable_push_service", service_id, time)

    @command
    def delete(self, time: int, service_id: str) -> Steps[bool]:
        old = yield from _service(service_id, time)
        yield from execute("drop_reach", service_id=service_id)
        yield from execute("delete_push_service", id=service_id)
        yield from changed(old, None)
        return old is not None

    @read
    def get(self, service_id: str) -> Steps[PushService | None]:
        return (yield from _service(service_id, (yield from now())))

    @read
    def reaching(self, project_ids: Sequence[str]) -> Steps[list[PushService]]:
        return (yield from services_reaching(project_ids, (yield from now())))

    async def page(
        self, project_ids: Sequence[str], limit: int, after: tuple[int, str] | None = None
    ) -> ListPage[PushService]:
        at, after_id = after or (-1, "")

        def page() -> Steps[ListPage[PushService]]:
            time = yield from now()
            found = yield from select_page(
                "push_services_page",
                PushService,
                project_ids=list(project_ids),
                after_at=at,
                after_id=after_id,
                limit=limit,
            )
            return ListPage([_as_of(service, time) for service in found.rows], found.more)

        return await self._database.scan(page)


def services_reaching(project_ids: Sequence[str], time: int) -> Steps[list[PushService]]:
    """The services that get runs of these projects, as of `time` in ms."""
    return _services("push_services_reaching", time, project_ids=list(project_ids))


def _service(service_id: str, time: int) -> Steps[PushService | None]:
    stored = yield from first("push_service", PushService, id=service_id)
    return None if stored is None else _as_of(stored, time)


def _switch(statement: str, service_id: str, time: int) -> Steps[PushService | None]:
    old = yield from _service(service_id, time)
    yield from execute(statement, now=time, id=service_id)
    new = yield from _service(service_id, time)
    yield from changed(old, new)
    return new


def _services(statement: str, time: int, **arguments: Any) -> Steps[list[PushService]]:
    stored = yield from select(statement, PushService, **arguments)
    return [_as_of(service, time) for service in stored]


def _as_of(service: PushService, time: int) -> PushService:
    active = is_active(service.disabled_at, service.last_heartbeat_at, time)
    return replace(service, reach=tuple(sorted(service.reach)), active=active)


def _put_reach(service_id: str, reach: Iterable[str]) -> Steps[None]:
    """Raises TOO_MANY_PUSH_SERVICES. The names of `reach` are locked."""
    projects, most = sorted(set(reach)), limits.push_services_per_project_max
    crowded = yield from value(
        "crowded_push_projects", project_ids=projects, service_id=service_id, most=most
    )
    if crowded is not None:
        raise Error(
            "TOO_MANY_PUSH_SERVICES",
            f"A project has at most {most} push services: register under the service_key of one that is there",
        )
    yield from execute("drop_reach", service_id=service_id)
    yield from execute_many(
        "add_reach", [{"project_id": project_id, "service_id": service_id} for project_id in projects]
    )
