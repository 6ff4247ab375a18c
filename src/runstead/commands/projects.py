"""Projects, their members and their API keys."""

from collections.abc import Mapping, Sequence

import msgspec

from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.keys import make_key, new_project
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import ALL_SCOPES, Principal, Role, Scope, refuse_reader, require_system
from runstead.core.identity.project import ApiKey, Member, Project, user_uuid
from runstead.ports.store import MemberCounts


async def create(
    app: App, principal: Principal, slug: str, name: str | None, secret: str, idempotency: Idempotency = None
) -> Project:
    """Create a project. A user becomes its admin.

    For a key, `secret` becomes the project's admin key.

    Raises PROJECT_SLUG_TAKEN, PROJECT_LIMIT_REACHED, FORBIDDEN.
    """
    if not may_create(principal):
        raise Error(
            "FORBIDDEN",
            "Creating projects needs the scope system, or the token of a user whose claims restrict no scopes,"
            " project or run",
        )
    most = app.projects_per_user_max

    def count(created: int) -> None:
        if created >= most:
            raise Error(
                "PROJECT_LIMIT_REACHED",
                f"A user can create at most {most} projects: a caller with the scope system can create more",
            )

    project = new_project(slug, name, user_uuid(principal.id))
    member = key = None
    if principal.kind == "user":
        member = Member(project.id, principal.id, "admin", project.created_at)
    else:
        key = make_key(secret, project.id, ALL_SCOPES, name="first key", created_by=user_uuid(principal.id))
    quota = None if principal.system else count
    identity = app.store.recording(by(principal, "project.create", project.id)).identity
    return await identity.create_project(project, member, key, idempotency, count=quota)


def may_create(principal: Principal) -> bool:
    """Return whether the caller may create projects: with the scope system, or as a user whose token is whole."""
    return principal.system or (principal.kind == "user" and not principal.narrowed)


async def get(app: App, principal: Principal, ref: str) -> Project:
    """Return a project by id or slug. Raises NOT_FOUND; FORBIDDEN for an access token."""
    refuse_reader(principal, "cannot read projects")
    found = await app.store.identity.project(ref)
    if found is None or found.id not in principal.grants:
        raise not_found("Project")
    return found


@needs(Scope.ADMIN, bound="cannot change projects", records="project.change")
async def change(
    access: Access,
    *,
    require_attempt: bool | None = None,
    search_values: bool | None = None,
    idempotency: Idempotency = None,
) -> Project:
    """Change the settings that are not None. Raises NOT_FOUND, FORBIDDEN."""

    def decide(current: Project, now: int) -> Project:
        if search_values is not None:
            current = current.searching_values(now, search=search_values)
        if require_attempt is None:
            return current
        return msgspec.structs.replace(current, require_attempt=require_attempt)

    identity = access.recording.identity
    return existing(await identity.change_project(access.project_id, decide, idempotency), "Project")


@needs(Scope.RUNS_READ, bound="cannot follow a project")
async def get_to_follow(access: Access) -> Project:
    """Return a project whose change notifications the caller may follow. Raises NOT_FOUND, FORBIDDEN."""
    return access.project


async def visible(app: App, principal: Principal) -> list[Project]:
    """List the projects that the caller has access to. Raises FORBIDDEN for an access token."""
    refuse_reader(principal, "cannot list projects")
    return await app.store.identity.projects(tuple(principal.grants))


class NewKey(msgspec.Struct, frozen=True):
    """An API key to create. `expires_at` in ms."""

    secret: str
    scopes: frozenset[Scope]
    name: str | None = None
    expires_at: int | None = None
    requests_per_minute: int | None = None
    runs_per_minute: int | None = None


@needs(Scope.ADMIN, records="key.create")
async def create_key(access: Access, new: NewKey, idempotency: Idempotency = None) -> ApiKey:
    app, project_id = access.app, access.project_id
    if Scope.SYSTEM in new.scopes:
        require_system(access.principal)
    key = make_key(**msgspec.structs.asdict(new), project_id=project_id, created_by=access.user)
    identity = access.recording.identity
    return await identity.create_key(key, idempotency, lambda count: _more_keys(app, project_id, count))


def _more_keys(app: App, project_id: str, count: int) -> None:
    most = app.quotas.of(project_id).keys or limits.keys_per_project_max
    if count >= most:
        raise Error("KEY_LIMIT_REACHED", f"A project has at most {most:,} keys: revoke one that is not used")


@needs(Scope.ADMIN)
async def keys(access: Access) -> list[ApiKey]:
    return await access.store.identity.keys(access.project_id)


@needs(Scope.ADMIN, records="key.change")
async def change_key(
    access: Access, key_id: str, changes: Mapping[str, int | None], idempotency: Idempotency = None
) -> ApiKey:
    """Change the quotas of a key: `requests_per_minute`, `runs_per_minute`, None for none. Raises NOT_FOUND."""
    if access.principal.kind == "api_key" and access.principal.id == key_id:
        raise Error("FORBIDDEN", "A key cannot change its own quotas: use another key or a user's token")

    def decide(key: ApiKey | None) -> ApiKey:
        return msgspec.structs.replace(existing(key, "Key"), **changes)

    return await access.recording.identity.change_key(access.project_id, key_id, decide, idempotency)


@needs(Scope.ADMIN, records="key.revoke")
async def revoke_key(access: Access, key_id: str) -> ApiKey:
    return existing(await access.recording.identity.revoke_key(access.project_id, key_id, now_ms()), "Key")


@needs(Scope.ADMIN, records="member.put")
async def put_member(access: Access, user_id: str, role: Role, idempotency: Idempotency = None) -> Member:
    app, project_id = access.app, access.project_id

    def guard(counts: MemberCounts) -> None:
        most = app.quotas.of(project_id).members or limits.members_per_project_max
        if counts.role is None and counts.members >= most:
            raise Error("MEMBER_LIMIT_REACHED", f"A project has at most {most:,} members: remove one first")
        if role != "admin":
            _keeps_an_admin(counts)

    member = Member(project_id, user_id, role, now_ms())
    return await access.recording.identity.put_member(member, guard, idempotency)


@needs(Scope.RUNS_READ, bound="cannot list members")
async def members(access: Access) -> list[Member]:
    return await access.store.identity.members(access.project_id)


@needs(Scope.ADMIN, records="member.remove")
async def remove_member(access: Access, user_id: str) -> None:
    """Remove a user: also one who has access by a claim of a token or a group of a provider alone.

    The user has no access until an admin adds the user as a member. Raises NOT_FOUND for a user who is removed
    already, LAST_ADMIN, MEMBER_LIMIT_REACHED.
    """

    def guard(counts: MemberCounts) -> None:
        _keeps_an_admin(counts)
        most = limits.removed_members_per_project_max
        if counts.role is None and counts.removed >= most:
            raise Error(
                "MEMBER_LIMIT_REACHED",
                f"A project keeps at most {most:,} removed users: remove this user at the identity provider",
            )

    if not await access.recording.identity.remove_member(access.project_id, user_id, guard):
        raise not_found("Member")


def _keeps_an_admin(counts: MemberCounts) -> None:
    """Refuse to remove the last admin: only the database could repair a project without one."""
    if counts.role == "admin" and not counts.other_admins:
        raise Error("LAST_ADMIN", "This is the project's last admin: add another admin first")


def last_admin(members: Sequence[Member], keys: Sequence[ApiKey], now: int) -> str | None:
    """Return the only admin among the members, if no valid API key is admin either."""
    valid = [key for key in keys if key.is_valid(now)]
    admins = [m.user_id for m in members if m.role == "admin"]
    alone = len(admins) == 1 and not any(Scope.ADMIN in key.scopes for key in valid)
    return admins[0] if alone else None
