"""Concurrency limits: `/projects/{project}/concurrency-limits`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import concurrency as commands
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.core.queue.rate import Rate, Unit
from runstead.http.answers import answer_of
from runstead.http.arguments import from_body, scoped
from runstead.http.bounds import between
from runstead.http.framework.body import convert
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Target
from runstead.http.framework.views import view_of

routes = Routes("Concurrency")

_LIMITS = "/projects/{project}/concurrency-limits"


Most = Annotated[int, between(0, limits.running_max)]


class RateBody(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` runs start at once, and `limit` more in each `period_seconds`, evenly: of the target, or
    `per_key` of each concurrency key. With the unit `tokens`, runs start while no more than so many tokens of models are
    used. A rate of runs has a limit of 1,000,000 at most.
    """

    limit: Annotated[int, between(1, limits.rate_tokens_max)]
    period_seconds: Annotated[int, between(1, limits.rate_period_s_max)]
    per_key: bool = False
    unit: Unit = "runs"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `max_running` runs of `target` (null: of the project) run at a time, and at most `max_running_per_key` of
    each concurrency key of the target. 0 stops all claims. `rate` bounds how many start in a time, or the tokens of
    models that they use.
    """

    max_running: Most | None = None
    target: Target | None = None
    max_running_per_key: Most | msgspec.UnsetType | None = msgspec.UNSET
    rate: RateBody | msgspec.UnsetType | None = msgspec.UNSET


class PutConcurrencyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits of the project. Limits that are left out are removed."""

    limits: Annotated[list[Limit], Meta(max_length=limits.concurrency_limits_per_project_max)]


class ConcurrencyLimitView(msgspec.Struct, frozen=True):
    """A limit. `running` is the number of runs that count against `max_running` now.

    `rate_left` is how many runs may start now by `rate`, or how many tokens are left; negative if more were used. A rate
    of each key has none.
    """

    target: str | None
    max_running: int | None
    running: int
    max_running_per_key: int | msgspec.UnsetType = msgspec.UNSET
    rate: Rate | msgspec.UnsetType = msgspec.UNSET
    rate_left: int | msgspec.UnsetType = msgspec.UNSET


ConcurrencyLimits = answer_of("ConcurrencyLimits", limits=list[ConcurrencyLimitView])


def limit_of(body: Limit, path: str = "$") -> ConcurrencyLimit:
    """The limit of a body, which is at `path`. Raises INVALID_REQUEST."""
    per_key = None if body.max_running_per_key is msgspec.UNSET else body.max_running_per_key
    return from_body(
        ConcurrencyLimit, body, max_running_per_key=per_key, rate=_rate_of(body.rate or None, path)
    )


def _rate_of(body: RateBody | None, path: str) -> Rate | None:
    if body is None:
        return None
    if body.unit == "runs" and body.limit > limits.rate_limit_max:
        message = f"A rate of runs has a limit of {limits.rate_limit_max:,} at most"
        raise invalid_at(f"{path}.rate.limit", "too large for runs", message)
    return Rate(body.limit, body.period_seconds, body.per_key, body.unit)


def _target_of(name: str) -> str | None:
    """The target that a path names; `project` stands for all runs of the project. Raises INVALID_REQUEST."""
    if name == "project":
        return None
    try:
        convert(name, Target, nul=True)
    except msgspec.ValidationError as error:
        message = f"{name!r} is no target: {error}"
        raise invalid_at("target", str(error), message) from None
    return name


def _view(found: list[Occupancy]) -> Reply:
    return Reply(200, ConcurrencyLimits([_limit_view(one) for one in found]))


def _limit_view(occupancy: Occupancy) -> ConcurrencyLimitView:
    limit = occupancy.limit
    of_key = msgspec.UNSET if limit.max_running_per_key is None else limit.max_running_per_key
    return view_of(
        ConcurrencyLimitView,
        limit,
        running=occupancy.running,
        max_running_per_key=of_key,
        rate=limit.rate or msgspec.UNSET,
        rate_left=msgspec.UNSET if occupancy.rate_left is None else occupancy.rate_left,
    )


@routes.route("GET", _LIMITS, answer=ConcurrencyLimits, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get the project's concurrency limits and the number of running runs."""
    return _view(await commands.get(*scoped(call)))


@routes.route("PUT", _LIMITS, body=PutConcurrencyLimits, answer=ConcurrencyLimits, errors=CHANGE)
async def put(call: Call[PutConcurrencyLimits, Nothing]) -> Reply:
    """Replace the project's concurrency limits. Running runs continue."""
    wanted = [limit_of(limit, f"$.limits[{index}]") for index, limit in enumerate(call.body.limits)]
    return _view(await commands.put(*scoped(call), wanted))


class PutLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one target. Members that are left out are removed, and without any the target has no limit."""

    max_running: Most | None = None
    max_running_per_key: Most | None = None
    rate: RateBody | None = None


@routes.route(
    "PUT", "/projects/{project}/limits/{target}", body=PutLimit, answer=ConcurrencyLimits, errors=CHANGE
)
async def put_one(call: Call[PutLimit, Nothing]) -> Reply:
    """Set the limits of one target, and keep those of the others. Running runs continue."""
    target, rate = _target_of(call.path["target"]), _rate_of(call.body.rate, "$")
    limit = from_body(ConcurrencyLimit, call.body, target=target, rate=rate)
    return _view(await commands.put_one(*scoped(call), limit))
