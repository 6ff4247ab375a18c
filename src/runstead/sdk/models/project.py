"""Projects, and who may do what in them."""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from runstead.sdk.models.response import ResponseModel

Scope = Literal["runs:read", "runs:write", "workers", "admin"]
Role = Literal["admin", "member", "viewer"]


class Project(ResponseModel, frozen=True, kw_only=True):
    """`api_key` is the new project's admin key: in the answer of a creation with an admin's key only, and shown once."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"api_key"})

    id: str
    slug: str
    name: str
    created_by: str | None = None
    created_at: datetime | None = None
    api_key: str | None = None


class ProjectList(ResponseModel, frozen=True, kw_only=True):
    data: list[Project]


class ApiKey(ResponseModel, frozen=True, kw_only=True):
    """A key as lists show it: never the key itself. `key` is set in the answer of its creation only."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"key"})

    prefix: str
    id: str | None = None
    name: str | None = None
    scopes: list[str] = msgspec.field(default_factory=list)
    project_id: str | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    key: str | None = None


class ApiKeyList(ResponseModel, frozen=True, kw_only=True):
    data: list[ApiKey]


class Member(ResponseModel, frozen=True, kw_only=True):
    user_id: str
    role: str
    created_at: datetime | None = None


class MemberList(ResponseModel, frozen=True, kw_only=True):
    data: list[Member]


class ConcurrencyLimit(ResponseModel, frozen=True, kw_only=True):
    """At most `max_running` runs of `target` run at a time, of the whole project where it is None; `running` do now."""

    target: str | None
    max_running: int
    running: int = 0


class ConcurrencyLimits(ResponseModel, frozen=True, kw_only=True):
    limits: list[ConcurrencyLimit]


class Health(ResponseModel, frozen=True, kw_only=True):
    """`status` is `ok` where the server lives, `ready` where its store, of which `store` tells, has just committed; then
    `leader` tells whether this replica leads, and `term` the newest leader's.
    """

    status: str
    store: dict[str, Any] | None = None
    leader: bool | None = None
    term: int | None = None
