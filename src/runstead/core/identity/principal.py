"""Principals and their scopes in each project."""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from runstead.core.errors import Error, not_found


class Scope(StrEnum):
    """The scopes of a credential. `runs:write` includes `runs:read`; `admin` includes all scopes of a project.

    `system` belongs to the instance and to no project: reading the state of the servers, creating projects without a
    quota, and creating keys with this scope. No role of a project includes it.
    """

    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    WORKERS = "workers"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"
    SYSTEM = "system"


#: All scopes in a project.
ALL_SCOPES: Final = frozenset(Scope) - {Scope.SYSTEM}
#: The scopes of the bootstrap key, and of the key that the server creates at its first start.
INSTANCE_SCOPES: Final = frozenset(Scope)
#: The scopes of a new key that names none: everything but administration and the audit log.
DEFAULT_SCOPES: Final = frozenset({Scope.RUNS_READ, Scope.RUNS_WRITE, Scope.WORKERS})

_IMPLIED: Final = {
    Scope.ADMIN: ALL_SCOPES,
    Scope.RUNS_WRITE: frozenset({Scope.RUNS_WRITE, Scope.RUNS_READ}),
    Scope.RUNS_READ: frozenset({Scope.RUNS_READ}),
    Scope.WORKERS: frozenset({Scope.WORKERS}),
    Scope.SYSTEM: frozenset({Scope.SYSTEM}),
    Scope.AUDIT_READ: frozenset({Scope.AUDIT_READ}),
}

Role = Literal["admin", "member", "viewer"]
ROLE_SCOPES: Final[dict[str, frozenset[Scope]]] = {
    "admin": ALL_SCOPES,
    "member": DEFAULT_SCOPES,
    "viewer": frozenset({Scope.RUNS_READ}),
}


def expand(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes with all scopes that they include."""
    return frozenset().union(*(_IMPLIED[scope] for scope in scopes))


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a request came from: the peer's address and the request's `X-Request-Id`.

    Both are None where no request is behind a command, as in a loop or in the CLI.
    """

    address: str | None = None
    request_id: str | None = None


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller. `grants`: project id → scopes in the project, with all that they include.

    `credential_id` identifies the key, session or token of the request, `name` is what people call the caller,
    and `origin` says where the request came from.

    `system`: the caller has the scope `system`. `narrowed`: the claims of the token leave out rights of its user.

    `run_id` binds a token to one run; with `family` also to the descendants of that run. `worker_id` is set for worker
    tokens, which act for that worker only. A `service` is a push service that works on a run; an `event_writer` can
    only append events to one run, a `run_reader` can only read one run, and a `conversation_reader` only the
    conversation `conversation_id` with its runs. `service_id` names the push service of either, and `issuer`
    (`str(Issuer)`) the issuer of its token.

    `requests_per_minute` and `runs_per_minute` are the quotas of an API key.

    `fenced` holds the projects of the caller that require a proof of the attempt with every write of a worker.
    """

    kind: Literal["api_key", "user", "worker", "service", "event_writer", "run_reader", "conversation_reader"]
    id: str
    grants: dict[str, frozenset[Scope]]
    run_id: str | None = None
    conversation_id: str | None = None
    worker_id: str | None = None
    service_id: str | None = None
    family: bool = False
    issuer: str | None = None
    system: bool = False
    narrowed: bool = False
    credential_id: str | None = None
    name: str | None = None
    origin: Origin = Origin()
    fenced: frozenset[str] = frozenset()
    requests_per_minute: int | None = None
    runs_per_minute: int | None = None

    @property
    def identity(self) -> str:
        """A name that is unique among all callers, used for idempotency keys and browser sessions."""
        if self.service_id is not None:
            return f"{self.kind}:{self.service_id}:{self.run_id or self.conversation_id}"
        return f"{self.kind}:{self.id}"

    @property
    def bound_to(self) -> str | None:
        """What its token is bound to: `the run …` or `the conversation …`. None: nothing."""
        if self.run_id is not None:
            return f"the run {self.run_id}"
        return None if self.conversation_id is None else f"the conversation {self.conversation_id}"

    @property
    def reads_descendants(self) -> bool:
        """Whether a token of one run also reads the events of its descendants."""
        return self.kind == "run_reader" and self.family

    @property
    def tenant(self) -> str:
        """The caller's project, or the caller where it has several: see `core.identity.tenant`."""
        return next(iter(self.grants)) if len(self.grants) == 1 else self.identity


def can(principal: Principal, scope: Scope, project_id: str) -> bool:
    return scope in principal.grants.get(project_id, frozenset())


def require(principal: Principal, scope: Scope, project_id: str, what: str) -> None:
    """NOT_FOUND if the caller has no scope in the project, FORBIDDEN if this scope is missing."""
    scopes = principal.grants.get(project_id)
    if scopes is None:
        raise not_found(what)
    if scope not in scopes:
        raise Error("FORBIDDEN", f"This needs the scope {scope.value}, which the credential does not have")


def require_system(principal: Principal) -> None:
    """FORBIDDEN if the caller does not have the scope `system`."""
    if not principal.system:
        raise Error("FORBIDDEN", "This needs the scope system, which the credential does not have")


def refuse_bound(principal: Principal, what: str) -> None:
    """FORBIDDEN for a token that is bound to one run or conversation. `what` completes the message."""
    if principal.bound_to is not None:
        raise Error("FORBIDDEN", f"The token is bound to {principal.bound_to} and {what}")


def refuse_reader(principal: Principal, what: str) -> None:
    """FORBIDDEN for an access token, which reads one run or conversation and nothing else."""
    if principal.kind in ("run_reader", "conversation_reader"):
        refuse_bound(principal, what)


def projects_with(principal: Principal, scope: Scope) -> tuple[str, ...]:
    """Return the projects in which the caller has the scope. FORBIDDEN if there is none."""
    projects = tuple(project for project, scopes in principal.grants.items() if scope in scopes)
    if not projects:
        raise Error("FORBIDDEN", f"This needs the scope {scope.value}, which the credential does not have")
    return projects


def for_appending(principal: Principal, run_id: str) -> Principal:
    """Return the principal for an append: an event writer gets the scope `runs:write` for its own run.

    FORBIDDEN.
    """
    if principal.kind != "event_writer":
        return principal
    if principal.run_id != run_id:
        raise Error("FORBIDDEN", f"The token can only append events to the run {principal.run_id}")
    return writing(principal)


def for_reading(principal: Principal, *kinds: Literal["run_reader", "conversation_reader"]) -> Principal:
    """Return the principal for the routes that access tokens open: there those of a run and of a conversation, or only
    these `kinds`, have the scope `runs:read`.
    """
    if principal.kind not in (kinds or ("run_reader", "conversation_reader")):
        return principal
    return msgspec.structs.replace(
        principal, grants=dict.fromkeys(principal.grants, frozenset({Scope.RUNS_READ}))
    )


def writing(principal: Principal) -> Principal:
    """Return the principal with the scope `runs:write` only. The caller must check which run it may write."""
    return msgspec.structs.replace(
        principal, grants=dict.fromkeys(principal.grants, frozenset({Scope.RUNS_WRITE}))
    )
