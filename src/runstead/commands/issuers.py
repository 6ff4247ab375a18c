"""Issuers of the tokens that the server makes for a caller, and whether an issuer still has its rights."""

from runstead.core.identity.issuer import Issuer
from runstead.core.identity.principal import DEFAULT_SCOPES, ROLE_SCOPES, Principal, Scope, expand
from runstead.core.identity.project import personal_project
from runstead.ports.store import Store


async def issuer_of(store: Store, principal: Principal, scope: Scope, project_id: str) -> str:
    """Return the issuer of a token that the caller gets now and that needs the scope in the project.

    A token that was got with the token of a run has the issuer of that token.
    """
    if principal.issuer is not None:
        return principal.issuer
    if principal.kind == "api_key":
        return str(Issuer("api_key", principal.id))
    member = scope in await _member_scopes(store, principal.id, project_id)
    return str(Issuer("member" if member else "claim", principal.id))


async def is_live(store: Store, issuer: Issuer, scope: Scope, project_id: str, now: int) -> bool:
    """Return whether the issuer still has the scope in the project. `now` in ms."""
    if issuer.kind == "api_key":
        key = await store.identity.key(issuer.id)
        if key is None or key.project_id != project_id or not key.is_valid(now):
            return False
        return scope in expand(key.scopes)
    if issuer.kind == "member":
        return scope in await _member_scopes(store, issuer.id, project_id)
    if issuer.kind == "push_service":
        service = await store.push_services.get(issuer.id)
        return service is not None and service.disabled_at is None
    return project_id not in await store.identity.removed_from(issuer.id, (project_id,))


async def _member_scopes(store: Store, user_id: str, project_id: str) -> frozenset[Scope]:
    """Return the scopes that a user has by a role in the project, or because it is the user's personal one."""
    role = (await store.identity.roles(user_id)).get(project_id)
    scopes = frozenset() if role is None else ROLE_SCOPES[role]
    return scopes | DEFAULT_SCOPES if personal_project(user_id, 0).id == project_id else scopes
