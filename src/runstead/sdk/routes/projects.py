"""Routes of projects, their keys, members and concurrency limits, and of the server's health."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runstead.sdk.models.price import ProjectUsage, UsageBy
from runstead.sdk.models.project import (
    ApiKey,
    ApiKeyList,
    ConcurrencyLimits,
    Health,
    Member,
    MemberList,
    Project,
    ProjectList,
    QuotaList,
    Role,
    Scope,
)
from runstead.sdk.routes.call import Call, members
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route


class Projects(Resource[S_co]):
    """A project is identified by id or slug."""

    @endpoint("POST", "/projects", key="new")
    def create(
        self, slug: str, *, name: str | None = None, idempotency_key: str | None = None
    ) -> Call[Project]:
        """Create a project. 409 PROJECT_SLUG_TAKEN where the slug exists."""

    @endpoint("GET", "/projects")
    def list(self, *, cursor: str | None = None) -> Call[ProjectList]:
        """The projects that the caller has access to. `page_info.next` is the next page's cursor."""

    iter = every(list, Project)

    @endpoint("GET", "/projects/{ref}")
    def get(self, project: str | None = None) -> Call[Project]: ...

    @endpoint("PATCH", "/projects/{ref}")
    def update(
        self,
        *,
        require_attempt: bool | None = None,
        search_values: bool | None = None,
        project: str | None = None,
    ) -> Call[Project]:
        """Change the settings that are given. Needs the scope `admin`.

        With `require_attempt`, the server refuses a write of a worker that sends neither `attempt` nor `lease_token`:
        409 ATTEMPT_REQUIRED. Workers of this package send both. With `search_values`, the filter `q` of `runs.list` also
        searches the inputs and outputs of runs that are created from now on.
        """

    @endpoint("GET", "/projects/{ref}/usage")
    def usage(
        self,
        by: UsageBy = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        project: str | None = None,
    ) -> Call[ProjectUsage]:
        """The usage of runs created from `since` to before `until`. Default: 30 days."""


class Quotas(Resource[S_co]):
    """The quotas of a project. 404 for a project that is unknown or not visible to the caller."""

    @endpoint("GET", "/projects/{ref}/quota")
    def get(self, *, project: str | None = None) -> Call[QuotaList]:
        """The quotas of a project and how much is used."""

    @route
    def put(self, quota: Mapping[str, int | None], *, project: str | None = None) -> Call[QuotaList]:
        """`PUT /projects/{ref}/quota`: replace the project's quotas. Needs the scope `system`.

        Names are those of `get`. The instance's default applies to names that are left out or None.
        """
        body = dict(quota)
        return Call("PUT", self._in_project(project, "quota"), QuotaList, body=body)


class ApiKeys(Resource[S_co]):
    """Every route needs the scope `admin`: 403 without it."""

    @endpoint("POST", "/projects/{ref}/api-keys", key="given")
    def create(
        self,
        *,
        name: str | None = None,
        scopes: Sequence[Scope] | None = None,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
        runs_per_minute: int | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ApiKey]:
        """Create a key. The answer's `key` is shown once.

        A replay under an idempotency key does not show it either. So none is sent by default, and the call is retried
        only where it certainly had no effect: a lost answer is an error, and the key can be revoked.
        """

    @endpoint("GET", "/projects/{ref}/api-keys")
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[ApiKeyList]:
        """Also revoked keys. `page_info.next` is the next page's cursor."""

    iter = every(list, ApiKey)

    @route
    def update(
        self, key_id: str, quotas: Mapping[str, int | None], *, project: str | None = None
    ) -> Call[ApiKey]:
        """`PATCH /projects/{ref}/api-keys/{key_id}`: change `requests_per_minute`, `runs_per_minute`; None ends one."""
        return Call("PATCH", self._in_project(project, "api-keys", key_id), ApiKey, body=dict(quotas))

    @endpoint("DELETE", "/projects/{ref}/api-keys/{key_id}")
    def revoke(self, key_id: str, *, project: str | None = None) -> Call[ApiKey]: ...


class Members(Resource[S_co]):
    """Every route needs the scope `admin`: 403 without it."""

    @endpoint("GET", "/projects/{ref}/members")
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[MemberList]:
        """`page_info.next` is the next page's cursor."""

    iter = every(list, Member)

    @endpoint("POST", "/projects/{ref}/members")
    def add(self, user_id: str, role: Role = "member", *, project: str | None = None) -> Call[Member]:
        """Add a user, or change a member's role."""

    @endpoint("DELETE", "/projects/{ref}/members/{user_id}")
    def remove(self, user_id: str, *, project: str | None = None) -> Call[None]:
        """Remove a user, a member or not, until the user is added.

        Claims of tokens give a removed user no access. 404 for a user who is removed already, 409 LAST_ADMIN for the
        only admin.
        """


class Limits(Resource[S_co]):
    """Concurrency limits of a project."""

    @endpoint("GET", "/projects/{ref}/concurrency-limits")
    def get(self, *, project: str | None = None) -> Call[ConcurrencyLimits]:
        """The limits, and the numbers of running runs."""

    @route
    def put(
        self, limits: Mapping[str | None, int | Mapping[str, Any]], *, project: str | None = None
    ) -> Call[ConcurrencyLimits]:
        """`PUT /projects/{ref}/concurrency-limits`: replace all limits.

        `limits` maps a target to the number of its runs that may run at a time, 0 to 10,000, or to {max_running,
        max_running_per_key, rate}. The target None is the whole project.
        """
        body = [
            members(target=target, **({"max_running": most} if isinstance(most, int) else most))
            for target, most in limits.items()
        ]
        where = self._in_project(project, "concurrency-limits")
        return Call("PUT", where, ConcurrencyLimits, body={"limits": body})

    @route
    def set(
        self,
        target: str | None,
        *,
        max_running: int | None = None,
        max_running_per_key: int | None = None,
        rate: Mapping[str, Any] | None = None,
        project: str | None = None,
    ) -> Call[ConcurrencyLimits]:
        """`PUT /projects/{ref}/limits/{target}`: set the limits of a target, and keep those of the others.

        `max_running` is the number of its runs that may run at a time, 0 to 10,000, `max_running_per_key` that of each
        concurrency key. `rate` is {limit, period_seconds, per_key, unit}: how many runs may start in a time, or with the
        unit `tokens`, how many tokens of models they may use. None is no limit. The target None is the whole project, which
        has no limit of each key.
        """
        where = self._in_project(project, "limits", "project" if target is None else target)
        body = members(max_running=max_running, max_running_per_key=max_running_per_key, rate=rate)
        return Call("PUT", where, ConcurrencyLimits, body=body)


class ServerHealth(Resource[S_co]):
    """The health of the server. No credential is needed."""

    @endpoint("GET", "/healthz")
    def live(self) -> Call[Health]:
        """Whether the server is alive."""

    @endpoint("GET", "/readyz")
    def ready(self) -> Call[Health]:
        """Whether the server can commit. Raise RunsteadError with status 503 where it cannot."""
