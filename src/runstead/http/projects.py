"""Projects, their members and their API keys."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from runstead.commands import projects as commands
from runstead.core import limits
from runstead.core.identity.principal import DEFAULT_SCOPES, Role, Scope
from runstead.core.identity.project import ApiKey, Member, Project, new_key
from runstead.http.answers import answer_of, list_of
from runstead.http.arguments import from_body, named, scoped, set_members
from runstead.http.bounds import between, line
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import CursorQuery, listed, position_by_time, rows_after
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import SLUG, Moment, Name, moment_ms
from runstead.http.framework.views import Timestamp, view_of

routes = Routes("Administration")

_PROJECT = "/projects/{project}"
_KEYS = _PROJECT + "/api-keys"
_KEY = _KEYS + "/{key_id}"
_MEMBERS = _PROJECT + "/members"


Slug = Annotated[
    str, line(limits.slug_chars_max, "Lower-case letters, digits and inner hyphens.", pattern=SLUG)
]


class ProjectView(msgspec.Struct, frozen=True):
    id: str
    slug: str
    name: str
    created_by: str | None
    created_at: Timestamp
    require_attempt: bool
    search_values: bool


view = partial(view_of, ProjectView)
ProjectList = list_of("ProjectList", ProjectView, "projects")


class CreateProject(msgspec.Struct, frozen=True, kw_only=True):
    slug: Slug
    name: Name | None = None


class CreatedProject(ProjectView, frozen=True):
    """`api_key` is set if an API key created the project. It is the new project's admin key, shown once."""

    api_key: str | None


@routes.route(
    "POST",
    "/projects",
    body=CreateProject,
    answer=CreatedProject,
    status=201,
    errors=("PROJECT_SLUG_TAKEN", "PROJECT_LIMIT_REACHED", "STORE_BUSY", "STORE_UNAVAILABLE"),
    location="/projects/{id}",
)
async def create(call: Call[CreateProject, Nothing]) -> Reply:
    """Create a project. A user becomes its admin.

    This needs a user's token without restricting claims, or the scope `system`. For an API key, the answer holds the
    project's first key.
    """
    secret = new_key()
    shown = secret if call.principal.kind == "api_key" else None

    body = call.body
    reply = await call.idempotent(
        lambda record: commands.create(call.app, call.principal, body.slug, body.name, secret, record),
        lambda project: Reply(201, view_of(CreatedProject, project, api_key=shown)),
        secret=shown,
    )
    call.forget_credentials()  # its creator may use it at once
    return reply


@routes.route("GET", "/projects", query=CursorQuery, answer=ProjectList, errors=("FORBIDDEN",))
async def page(call: Call[Nothing, CursorQuery]) -> Reply:
    """List the caller's projects, oldest first."""
    return _listed(call, await commands.visible(call.app, call.principal), view, _by_id)


T = TypeVar("T", Project, ApiKey, Member)


def _listed(
    call: Call[Nothing, CursorQuery],
    found: list[T],
    view: Callable[[T], Any],
    position: Callable[[T], tuple[int, str]],
) -> Reply:
    cursor = call.query.cursor
    rest = rows_after(found, position, position_by_time(cursor))
    return Reply(200, listed(rest, view, position, cursor))


def _by_id(record: Project | ApiKey) -> tuple[int, str]:
    return record.created_at, record.id


def _by_user(member: Member) -> tuple[int, str]:
    return member.created_at, member.user_id


@routes.route("GET", _PROJECT, answer=ProjectView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a project by id or slug."""
    return Reply(200, view(await commands.get(*scoped(call))))


class ChangeProject(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a project. Members that are left out stay unchanged.

    With `require_attempt`, a write of a worker without `attempt` or `X-Lease-Token` is refused. With `search_values`, the
    filter `q` of lists also searches the inputs and outputs of runs that are created from now on.
    """

    require_attempt: bool | None = None
    search_values: bool | None = None


@routes.route("PATCH", _PROJECT, body=ChangeProject, answer=ProjectView, errors=CHANGE)
async def change(call: Call[ChangeProject, Nothing]) -> Reply:
    """Change a project's settings: at once on this replica, within two seconds on others."""
    changes = msgspec.structs.asdict(call.body)
    reply = await call.idempotent(
        lambda record: commands.change(*scoped(call), **changes, idempotency=record),
        lambda project: Reply(200, view(project)),
    )
    call.forget_credentials()
    return reply


_PerMinute = Annotated[
    int, between(1, limits.quota_max, "At each process of the server. A burst may use the whole minute.")
]


class CreateKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key to create. Without `scopes`: runs:read, runs:write and workers.

    Only a caller with the scope `system` creates a key with that scope.
    """

    name: Name | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=16)] | None = None
    expires_at: Moment | None = None
    requests_per_minute: _PerMinute | None = None
    runs_per_minute: _PerMinute | None = None


class ChangeKey(msgspec.Struct, frozen=True, kw_only=True):
    """Quotas of a key. A member that is null ends the quota; one that is left out is not changed."""

    requests_per_minute: _PerMinute | msgspec.UnsetType | None = msgspec.UNSET
    runs_per_minute: _PerMinute | msgspec.UnsetType | None = msgspec.UNSET


class KeyView(msgspec.Struct, frozen=True):
    id: str
    prefix: str
    name: str | None
    scopes: list[Scope]
    project_id: str
    created_by: str | None
    created_at: Timestamp
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    requests_per_minute: int | None
    runs_per_minute: int | None


class CreatedKey(KeyView, frozen=True):
    """`key` is the whole key. It is shown once, and is null in a replay under an Idempotency-Key."""

    key: str | None


def key_view(key: ApiKey) -> KeyView:
    return view_of(KeyView, key, scopes=sorted(key.scopes))


@routes.route(
    "POST", _KEYS, body=CreateKey, answer=CreatedKey, status=201, errors=(*CHANGE, "KEY_LIMIT_REACHED")
)
async def create_key(call: Call[CreateKey, Nothing]) -> Reply:
    """Create an API key for the project."""
    body, secret = call.body, new_key()
    new = from_body(
        commands.NewKey,
        body,
        secret=secret,
        scopes=frozenset(body.scopes) if body.scopes else DEFAULT_SCOPES,
        expires_at=moment_ms("expires_at", body.expires_at),
    )
    return await call.idempotent(
        lambda record: commands.create_key(*scoped(call), new, record),
        lambda key: Reply(201, view_of(CreatedKey, key, scopes=sorted(key.scopes), key=secret)),
        secret=secret,
    )


KeyList = list_of("KeyList", KeyView, "keys")


@routes.route("GET", _KEYS, query=CursorQuery, answer=KeyList, errors=LOOKUP)
async def keys(call: Call[Nothing, CursorQuery]) -> Reply:
    """List the project's API keys, oldest first, revoked ones included, without their secrets."""
    found = await commands.keys(*scoped(call))
    return _listed(call, found, key_view, _by_id)


@routes.route("PATCH", _KEY, body=ChangeKey, answer=KeyView, errors=CHANGE)
async def change_key(call: Call[ChangeKey, Nothing]) -> Reply:
    """Change the quotas of an API key: at once on this replica, within two seconds on others.

    A key cannot change its own.
    """
    changes = set_members(call.body)
    reply = await call.idempotent(
        lambda record: commands.change_key(*named(call), changes, record),
        lambda key: Reply(200, key_view(key)),
    )
    call.forget_credentials()
    return reply


@routes.route("DELETE", _KEY, answer=KeyView, errors=CHANGE)
async def revoke_key(call: Call[Nothing, Nothing]) -> Reply:
    """Revoke an API key: at once on this replica, within two seconds on others."""
    key = await commands.revoke_key(*named(call))
    call.forget_credentials()
    return Reply(200, key_view(key))


class PutMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a project. `admin`: everything; `member`: runs and workers; `viewer`: reading runs."""

    user_id: Name
    role: Literal["admin", "member", "viewer"] = "member"


class MemberView(msgspec.Struct, frozen=True):
    user_id: str
    role: Role
    created_at: Timestamp


member_view = partial(view_of, MemberView)
MemberList = list_of("MemberList", MemberView, "members")
Removed = answer_of("Removed", removed=bool)


@routes.route(
    "POST",
    _MEMBERS,
    body=PutMember,
    answer=MemberView,
    status=201,
    errors=(*CHANGE, "LAST_ADMIN", "MEMBER_LIMIT_REACHED"),
)
async def put_member(call: Call[PutMember, Nothing]) -> Reply:
    """Add a member, or change a member's role."""
    body = call.body
    reply = await call.idempotent(
        lambda record: commands.put_member(*scoped(call), body.user_id, body.role, record),
        lambda member: Reply(201, member_view(member)),
    )
    call.forget_credentials()
    return reply


@routes.route("GET", _MEMBERS, query=CursorQuery, answer=MemberList, errors=LOOKUP)
async def members(call: Call[Nothing, CursorQuery]) -> Reply:
    """List the project's members, oldest first."""
    found = await commands.members(*scoped(call))
    return _listed(call, found, member_view, _by_user)


@routes.route(
    "DELETE", _MEMBERS + "/{user_id}", answer=Removed, errors=(*CHANGE, "LAST_ADMIN", "MEMBER_LIMIT_REACHED")
)
async def remove_member(call: Call[Nothing, Nothing]) -> Reply:
    """Remove a user from the project, a member or not: tokens give the user no access until an admin adds the user."""
    await commands.remove_member(*named(call))
    call.forget_credentials()
    return Reply(200, Removed(removed=True))
