"""Concurrency limits: `/projects/{project}/concurrency-limits`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import concurrency as commands
from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Target

routes = Routes("Concurrency")

_WRITE = ("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE")


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `max_running` runs of `target` (null: of the project) run at a time. 0 stops all claims."""

    max_running: Annotated[int, Meta(ge=0, le=limits.running_max)]
    target: Target | None = None


class PutConcurrencyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits of the project. Limits that are left out are removed."""

    limits: Annotated[list[Limit], Meta(max_length=limits.concurrency_limits_per_project_max)]


class ConcurrencyLimitView(msgspec.Struct, frozen=True):
    """A limit. `running` is the number of runs that count against it now."""

    target: str | None
    max_running: int
    running: int


class ConcurrencyLimits(msgspec.Struct, frozen=True):
    limits: list[ConcurrencyLimitView]


def _view(found: list[Occupancy]) -> Reply:
    views = [
        ConcurrencyLimitView(occupancy.limit.target, occupancy.limit.max_running, occupancy.running)
        for occupancy in found
    ]
    return Reply(200, ConcurrencyLimits(views))


@routes.route(
    "GET", "/projects/{project}/concurrency-limits", answer=ConcurrencyLimits, errors=("NOT_FOUND",)
)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get the project's concurrency limits and the number of running runs."""
    return _view(await commands.get(call.app, call.principal, call.path["project"]))


@routes.route(
    "PUT",
    "/projects/{project}/concurrency-limits",
    body=PutConcurrencyLimits,
    answer=ConcurrencyLimits,
    errors=_WRITE,
)
async def put(call: Call[PutConcurrencyLimits, Nothing]) -> Reply:
    """Replace the project's concurrency limits. Running runs continue."""
    wanted = [ConcurrencyLimit(limit.target, limit.max_running) for limit in call.body.limits]
    return _view(await commands.put(call.app, call.principal, call.path["project"], wanted))
