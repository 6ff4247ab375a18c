"""Push services: register, read and disable them, and receive their heartbeats."""

import uuid

import msgspec

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.whole_lists import whole_list
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.errors import Error, existing, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, can, projects_with, refuse_bound, require
from runstead.core.queue.push_service import PushService, ScopeKind, without_run_ids
from runstead.ports.store import ListPage


class NewService(msgspec.Struct, frozen=True, kw_only=True):
    """A push service to register. `project` is an id or slug; `metadata` and `capabilities` are JSON text."""

    service_name: str
    service_key: str
    scope_kind: ScopeKind
    base_url: str
    invoke_url: str
    project: str | None = None
    agent_id: str | None = None
    version: str | None = None
    runtime: str | None = None
    region: str | None = None
    capabilities: bytes | None = None
    metadata: bytes | None = None


async def register(
    app: App, principal: Principal, new: NewService, idempotency: Idempotency = None
) -> PushService:
    """Register a service, or update the one with the same key in its scope.

    A global service serves the projects that its credential may write at this moment. Raises INVALID_REQUEST,
    NOT_FOUND, TOO_MANY_PUSH_SERVICES.
    """
    refuse_bound(principal, "cannot register push services")
    for name, url in (("base_url", new.base_url), ("invoke_url", new.invoke_url)):
        app.egress.check_member(name, url)
    if (new.project is not None) is not (new.scope_kind == "project"):
        problem = "needs a project_id" if new.scope_kind == "project" else "takes no project_id"
        raise invalid_at("$.project_id", problem, f"A service with scope_kind {new.scope_kind} {problem}")
    project_id = None
    if new.project is not None:
        project_id = (await locate.project(app, principal, Scope.RUNS_WRITE, new.project)).id
        reach: tuple[str, ...] = (project_id,)
    else:
        reach = projects_with(principal, Scope.RUNS_WRITE)
    members = {name: getattr(new, name) for name in NewService.__struct_fields__ if name != "project"}
    service = PushService(
        id=str(uuid.uuid4()),
        registrant=f"project:{project_id}" if project_id is not None else _registrant(principal),
        project_id=project_id,
        reach=reach,
        **members,
    )
    services = app.store.recording(by(principal, "push_service.register", *reach)).push_services
    return await services.register(service, idempotency)


def _registrant(principal: Principal) -> str:
    """Return the owner of a global service: the user, or the project whose key registered it."""
    if principal.kind == "user":
        return f"user:{principal.id}"
    (project_id,) = principal.grants
    return f"key:{project_id}"


async def heartbeat(
    app: App, principal: Principal, service_id: str, idempotency: Idempotency = None
) -> PushService:
    """Store a heartbeat. A silent service becomes active again; a disabled one stays disabled.

    Raises NOT_FOUND.
    """
    service = await _own(app, principal, service_id)
    reach = projects_with(principal, Scope.RUNS_WRITE) if service.project_id is None else None
    return existing(await app.store.push_services.heartbeat(service_id, reach, idempotency), "Push service")


async def disable(app: App, principal: Principal, service_id: str) -> PushService:
    """Disable a service until it registers again. Raises NOT_FOUND."""
    own = await _own(app, principal, service_id)
    services = app.store.recording(by(principal, "push_service.disable", *own.reach)).push_services
    return existing(await services.disable(service_id), "Push service")


async def enable(app: App, principal: Principal, service_id: str) -> PushService:
    """Enable a disabled service. Its revoked tokens stay revoked. Raises NOT_FOUND."""
    own = await _own(app, principal, service_id)
    services = app.store.recording(by(principal, "push_service.enable", *own.reach)).push_services
    return existing(await services.enable(service_id), "Push service")


async def delete(app: App, principal: Principal, service_id: str) -> PushService:
    """Delete a service, and return it. Its runs go to other services. Raises NOT_FOUND."""
    own = await _own(app, principal, service_id)
    services = app.store.recording(by(principal, "push_service.delete", *own.reach)).push_services
    if not await services.delete(service_id):
        raise not_found("Push service")
    return own


async def get(app: App, principal: Principal, service_id: str) -> PushService:
    """Return a service that serves a project which the caller may read. Raises NOT_FOUND, FORBIDDEN."""
    refuse_bound(principal, "cannot read push services")
    found = await app.store.push_services.get(service_id)
    reached = [project for project in found.reach if project in principal.grants] if found is not None else []
    if found is None or not reached:
        raise not_found("Push service")
    if not any(can(principal, Scope.RUNS_READ, project) for project in reached):
        require(principal, Scope.RUNS_READ, reached[0], "Push service")
    return found


async def visible(
    app: App, principal: Principal, project: str | None, after: tuple[int, str] | None = None
) -> ListPage[PushService]:
    """List the services that serve a project, or any project that the caller may read, oldest first.

    `after` is (created_at, id) of the last service of the previous page.
    """
    refuse_bound(principal, "cannot list push services")
    ids = await runs.readable(app, principal, project)
    return await app.store.push_services.page(ids, limits.push_services_per_project_max, after)


async def with_short_values(app: App, principal: Principal, project: str) -> list[PushService]:
    """List all services of a project, oldest first, as readers of the project see them.

    `capabilities` and `metadata` are None if they are longer than `limits.value_shown_bytes_max`.
    """
    return await whole_list(lambda after: visible(app, principal, project, after), _shortened)


def _shortened(service: PushService) -> PushService:
    values = {"capabilities": service.capabilities, "metadata": service.metadata}
    long = [name for name, value in values.items() if len(value or b"") > limits.value_shown_bytes_max]
    return msgspec.structs.replace(without_run_ids(service), **dict.fromkeys(long))


async def _own(app: App, principal: Principal, service_id: str) -> PushService:
    """Return a service that the caller may change: of a project that it may write, or its own global one."""
    refuse_bound(principal, "cannot change push services")
    found = existing(await app.store.push_services.get(service_id), "Push service")
    _require_own(principal, found)
    return found


def _require_own(principal: Principal, service: PushService) -> None:
    if service.project_id is not None:
        require(principal, Scope.RUNS_WRITE, service.project_id, "Push service")
    elif service.registrant.startswith("key:"):
        require(principal, Scope.RUNS_WRITE, service.registrant.removeprefix("key:"), "Push service")
    elif principal.kind != "user" or service.registrant != f"user:{principal.id}":
        raise not_found("Push service")


def may_change(principal: Principal, service: PushService) -> bool:
    """Return whether the caller may disable, enable and delete the service."""
    try:
        _require_own(principal, service)
    except Error:
        return False
    return True
