"""Limits on running runs: `/projects/{project}/concurrency-limits`."""

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
    """At most `max_running` runs of `target` run at a time, of the whole project where it is null. 0 holds all back."""

    max_running: Annotated[int, Meta(ge=0, le=limits.running_max)]
    target: Target | None = None


class PutConcurrencyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """All of the project's limits: those that are not among them end."""

    limits: Annotated[list[Limit], Meta(max_length=limits.concurrency_limits_per_project_max)]


class ConcurrencyLimitView(msgspec.Struct, frozen=True):
    """`running`: how many runs count for it now."""

    target: str | None
    max_running: int
    running: int


class ConcurrencyLimits(msgspec.Struct, frozen=True):
    limits: list[ConcurrencyLimitView]


def _view(found: list[Occupancy]) -> Reply:
    views = [ConcurrencyLimitView(one.limit.target, one.limit.max_running, one.running) for one in found]
    return Reply(200, ConcurrencyLimits(views))


@routes.route(
    "GET", "/projects/{project}/concurrency-limits", answer=ConcurrencyLimits, errors=("NOT_FOUND",)
)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """The project's limits on running runs, and how many run now."""
    return _view(await commands.get(call.app, call.principal, call.path["project"]))


@routes.route(
    "PUT",
    "/projects/{project}/concurrency-limits",
    body=PutConcurrencyLimits,
    answer=ConcurrencyLimits,
    errors=_WRITE,
)
async def put(call: Call[PutConcurrencyLimits, Nothing]) -> Reply:
    """Replace the project's limits on running runs. What runs already runs on."""
    wanted = [ConcurrencyLimit(one.target, one.max_running) for one in call.body.limits]
    return _view(await commands.put(call.app, call.principal, call.path["project"], wanted))
