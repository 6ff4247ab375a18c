"""Who calls, and what they may do where."""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from runstead.core.errors import Error, not_found


class Scope(StrEnum):
    """What a credential is good for. Writing runs includes reading them; admin includes all."""

    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    WORKERS = "workers"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(Scope)
#: What a new key may do unless told otherwise: everything but administration.
DEFAULT_SCOPES: Final = frozenset({Scope.RUNS_READ, Scope.RUNS_WRITE, Scope.WORKERS})

_IMPLIED: Final = {
    Scope.ADMIN: ALL_SCOPES,
    Scope.RUNS_WRITE: frozenset({Scope.RUNS_WRITE, Scope.RUNS_READ}),
    Scope.RUNS_READ: frozenset({Scope.RUNS_READ}),
    Scope.WORKERS: frozenset({Scope.WORKERS}),
}

Role = Literal["admin", "member", "viewer"]
ROLE_SCOPES: Final[dict[str, frozenset[Scope]]] = {
    "admin": ALL_SCOPES,
    "member": DEFAULT_SCOPES,
    "viewer": frozenset({Scope.RUNS_READ}),
}


def expand(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """The scopes with all that they imply."""
    return frozenset().union(*(_IMPLIED[scope] for scope in scopes))


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller. `grants`: project id → scopes there, implied ones included.

    `run_id` binds a token to one run, with `family` to that run and those below it; `worker_id` is set for worker
    tokens, which act for that worker alone. A `service` is a push service at work on a run, an `event_writer` may
    append to one run and no more; `service_id` says whose they are.
    """

    kind: Literal["api_key", "user", "worker", "service", "event_writer"]
    id: str
    grants: dict[str, frozenset[Scope]]
    run_id: str | None = None
    worker_id: str | None = None
    service_id: str | None = None
    family: bool = False

    @property
    def identity(self) -> str:
        """Names the caller among all callers, as idempotency keys need."""
        if self.service_id is not None:
            return f"{self.kind}:{self.service_id}:{self.run_id}"
        return f"{self.kind}:{self.id}"


def can(principal: Principal, scope: Scope, project_id: str) -> bool:
    return scope in principal.grants.get(project_id, frozenset())


def require(principal: Principal, scope: Scope, project_id: str, what: str) -> None:
    """Refuse where the project is not the caller's (not found) or the scope is missing (forbidden)."""
    scopes = principal.grants.get(project_id)
    if scopes is None:
        raise not_found(what)
    if scope not in scopes:
        raise Error("FORBIDDEN", f"This needs the scope {scope.value}, which the credential does not carry")


def refuse_bound(principal: Principal, what: str) -> None:
    """A token that is bound to one run is good for that run alone."""
    if principal.run_id is not None:
        raise Error("FORBIDDEN", f"The token is bound to the run {principal.run_id} and {what}")


def projects_with(principal: Principal, scope: Scope) -> tuple[str, ...]:
    """The caller's projects in which it has the scope; refuses where it has it in none."""
    found = tuple(project for project, scopes in principal.grants.items() if scope in scopes)
    if not found:
        raise Error("FORBIDDEN", f"This needs the scope {scope.value}, which the credential does not carry")
    return found


def for_appending(principal: Principal, run_id: str) -> Principal:
    """The caller as an append sees it: a token for writing the events of one run may do so there."""
    if principal.kind != "event_writer":
        return principal
    if principal.run_id != run_id:
        raise Error("FORBIDDEN", f"The token is good for the events of the run {principal.run_id} alone")
    return msgspec.structs.replace(
        principal, grants=dict.fromkeys(principal.grants, frozenset({Scope.RUNS_WRITE}))
    )
