"""Push services: `/agent-runtimes/push-services…`, and the server's public keys."""

from typing import Annotated, Literal

import msgspec

from runstead.commands import push_services as commands
from runstead.core import limits
from runstead.core.queue.push_service import PushService, ScopeKind, without_run_ids
from runstead.http.answers import answer_of, list_of
from runstead.http.arguments import from_body, scoped
from runstead.http.bounds import line
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import CursorQuery, listed, position_by_time
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import JsonObject, Name, bounded, json_object
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of

routes = Routes("Push services")

_SERVICES = "/agent-runtimes/push-services"
_SERVICE = _SERVICES + "/{service_id}"

Label = Annotated[str, line(limits.push_service_name_chars_max)]
Url = Annotated[
    str,
    line(
        limits.push_service_url_chars_max,
        "http or https, without user name, password and fragment. Its host must be public, unless the server "
        "is configured to allow others.",
    ),
]
PushServiceStatus = Literal["active", "disabled"]


class RegisterPushService(msgspec.Struct, frozen=True, kw_only=True):
    """A push service to register.

    `project_id` (id or slug) is required with `scope_kind` project, and refused otherwise.

    Without an `agent_id`, the service receives the runs of every agent in its scope.
    """

    service_name: Label
    service_key: Label
    scope_kind: ScopeKind
    base_url: Url
    invoke_url: Url
    project_id: Name | None = None
    agent_id: Name | None = None
    version: Label | None = None
    runtime: Label | None = None
    region: Label | None = None
    capabilities: JsonObject | None = None
    metadata: JsonObject | None = None


class PushServiceView(msgspec.Struct, frozen=True):
    """A push service.

    `status` is disabled if it was disabled by a caller, or sent no heartbeat for too long. `last_success_…` and
    `last_error…` describe the last calls that it accepted and did not. A global service has no run ids there.
    """

    id: str
    service_name: str
    service_key: str
    scope_kind: ScopeKind
    scope_key: str
    project_id: str | None
    agent_id: str | None
    base_url: str
    invoke_url: str
    status: PushServiceStatus
    capabilities: JsonObjectOrNull
    metadata: JsonObjectOrNull
    version: str | None
    runtime: str | None
    region: str | None
    last_heartbeat_at: Timestamp
    last_success_at: Timestamp | None
    last_success_run_id: str | None
    last_error_at: Timestamp | None
    last_error_run_id: str | None
    last_error: str | None
    created_at: Timestamp
    updated_at: Timestamp


PushServiceAnswer = answer_of("PushServiceAnswer", service=PushServiceView)
PushServiceList = list_of("PushServiceList", PushServiceView, "services")


def view(service: PushService) -> PushServiceView:
    return view_of(
        PushServiceView, without_run_ids(service), status="active" if service.active else "disabled"
    )


def _answer(service: PushService, status: int = 200) -> Reply:
    return Reply(status, PushServiceAnswer(view(service)))


_WRITE = (*CHANGE, "TOO_MANY_PUSH_SERVICES")


@routes.route(
    "POST", _SERVICES, body=RegisterPushService, answer=PushServiceAnswer, status=201, errors=_WRITE
)
async def register(call: Call[RegisterPushService, Nothing]) -> Reply:
    """Register a push service, or update the one with the same `service_key` in its scope."""
    body, most = call.body, limits.push_service_value_bytes_max
    new = from_body(
        commands.NewService,
        body,
        project=body.project_id,
        capabilities=bounded("capabilities", json_object(body.capabilities), most),
        metadata=bounded("metadata", json_object(body.metadata), most),
    )
    return await call.idempotent(
        lambda record: commands.register(call.app, call.principal, new, record),
        lambda service: _answer(service, 201),
    )


@routes.route("POST", _SERVICE + "/heartbeat", answer=PushServiceAnswer, errors=_WRITE)
async def heartbeat(call: Call[Nothing, Nothing]) -> Reply:
    """Report that the service is alive.

    A silent service becomes active again; a disabled one stays disabled.
    """
    return await call.idempotent(lambda record: commands.heartbeat(*scoped(call), record), _answer)


class OfProject(CursorQuery, frozen=True, kw_only=True):
    """Without `project`: every project that the caller may read."""

    project: Name | None = None


@routes.route("GET", _SERVICES, query=OfProject, answer=PushServiceList, errors=LOOKUP)
async def page(call: Call[Nothing, OfProject]) -> Reply:
    """List the push services that serve a project, or any project of the caller, oldest first."""
    query = call.query
    after = position_by_time(query.cursor)
    found = await commands.visible(call.app, call.principal, query.project, after)
    return Reply(200, listed(found, view, lambda one: (one.created_at, one.id), query.cursor))


@routes.route("GET", _SERVICE, answer=PushServiceAnswer, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a push service."""
    return _answer(await commands.get(*scoped(call)))


@routes.route("DELETE", _SERVICE, answer=PushServiceAnswer, errors=CHANGE)
async def disable(call: Call[Nothing, Nothing]) -> Reply:
    """Disable a push service: it gets no runs, and its tokens are refused, until it registers again."""
    service = await commands.disable(*scoped(call))
    call.forget_credentials()
    return _answer(service)


class JsonWebKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key (RFC 7517): OKP with `crv` and `x`, or RSA with `n` and `e`."""

    kty: str
    kid: str
    alg: str
    use: str
    crv: str | None = None
    x: str | None = None
    n: str | None = None
    e: str | None = None


JsonWebKeySet = answer_of("JsonWebKeySet", keys=list[JsonWebKey])


@routes.route(
    "GET",
    "/.well-known/jwks.json",
    answer=JsonWebKeySet,
    open=True,
    errors=("ENCRYPTION_KEY_MISSING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def jwks(call: Call[Nothing, Nothing]) -> Reply:
    """Get the public keys of the server: EdDSA for its calls, RS256 for its tokens; newest last."""
    keys = msgspec.convert(await call.app.keyring.jwks(), list[JsonWebKey])
    return Reply(
        200, JsonWebKeySet(keys), {"Cache-Control": f"public, max-age={limits.signing_keys_reload_s}"}
    )
