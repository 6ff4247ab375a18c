"""Projects, their keys and members, their concurrency limits, and the server's health."""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from runstead.sdk.models.response import Listing, ResponseModel

Scope = Literal["runs:read", "runs:write", "workers", "audit:read", "admin", "system"]
Role = Literal["admin", "member", "viewer"]


class Project(ResponseModel, frozen=True, kw_only=True):
    """A project. With `require_attempt`, workers must prove their attempt with every write; with `search_values`, lists
    search inputs and outputs. `api_key` is the new project's admin key. Only a creation with an admin's key returns it,
    once.
    """

    SECRETS: ClassVar[frozenset[str]] = frozenset({"api_key"})

    id: str
    slug: str
    name: str
    created_by: str | None = None
    created_at: datetime | None = None
    require_attempt: bool = False
    search_values: bool = False
    api_key: str | None = None


class ProjectList(Listing[Project], frozen=True, kw_only=True):
    """The projects that the caller can see."""


class ApiKey(ResponseModel, frozen=True, kw_only=True):
    """An API key. Only the answer to its creation contains the `key` itself."""

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
    requests_per_minute: int | None = None
    runs_per_minute: int | None = None
    key: str | None = None


class ApiKeyList(Listing[ApiKey], frozen=True, kw_only=True):
    """The API keys of a project."""


class Member(ResponseModel, frozen=True, kw_only=True):
    """A user of a project, with a role."""

    user_id: str
    role: str
    created_at: datetime | None = None


class MemberList(Listing[Member], frozen=True, kw_only=True):
    """The members of a project."""


class Rate(ResponseModel, frozen=True, kw_only=True):
    """At most `limit` runs of a target start at once, and `limit` more in each `period_seconds`, evenly. `per_key`: of
    each concurrency key. `unit`: `runs`, or `tokens` of models that runs use.
    """

    limit: int
    period_seconds: int
    per_key: bool = False
    unit: str = "runs"


class ConcurrencyLimit(ResponseModel, frozen=True, kw_only=True):
    """At most `max_running` runs of `target` run at a time; `target` None: of the project. `running` run now.

    `max_running_per_key` counts the runs of each concurrency key of the target. `rate` bounds how many start in a time,
    or the tokens that they use; `rate_left` is what is left of it now. None is no limit.
    """

    target: str | None
    max_running: int | None = None
    max_running_per_key: int | None = None
    rate: Rate | None = None
    rate_left: int | None = None
    running: int = 0


class ConcurrencyLimits(ResponseModel, frozen=True, kw_only=True):
    """The concurrency limits of a project."""

    limits: list[ConcurrencyLimit]


class Health(ResponseModel, frozen=True, kw_only=True):
    """The health of a server.

    `status` is `ok` for /healthz. For /readyz it is `ready` after a commit of the store; `store` describes the store,
    `leader` is whether this replica leads, and `term` is the term of the newest leader.
    """

    status: str
    store: dict[str, Any] | None = None
    leader: bool | None = None
    term: int | None = None


class Quota(ResponseModel, frozen=True, kw_only=True):
    """One quota of a project. `limit` is in force, `own` was set for the project, `used` is None if it is not counted.

    `requests_per_minute` and `streams` count at each process of the server.
    """

    name: str
    limit: int | None = None
    own: int | None = None
    used: int | None = None


class QuotaList(ResponseModel, frozen=True, kw_only=True):
    """The quotas of a project."""

    data: list[Quota]
