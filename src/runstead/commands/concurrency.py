"""Concurrency limits of a project: read and replace them."""

from collections.abc import Sequence

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core import limits as bounds
from runstead.core.audit import by
from runstead.core.errors import invalid_at
from runstead.core.identity.principal import Principal, Scope
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.ports.notifier import PUSH_KEY, queue_key


async def get(app: App, principal: Principal, project: str) -> list[Occupancy]:
    """Return the project's limits, each with the number of runs that count against it."""
    found = await locate.project(
        app, principal, Scope.RUNS_READ, project, bound="cannot read concurrency limits"
    )
    return await app.store.concurrency.of(found.id)


async def put(
    app: App, principal: Principal, project: str, limits: Sequence[ConcurrencyLimit]
) -> list[Occupancy]:
    """Replace the project's limits. Raises INVALID_REQUEST for a duplicate target or too many limits."""
    found = await locate.project(app, principal, Scope.ADMIN, project)
    most = bounds.concurrency_limits_per_project_max
    if len(limits) > most:
        raise invalid_at("$.limits", "too many", f"A project has at most {most} limits, not {len(limits)}")
    seen: set[str | None] = set()
    for index, limit in enumerate(limits):
        if limit.target in seen:
            what = "The whole project" if limit.target is None else limit.target
            raise invalid_at(
                f"$.limits[{index}].target", "duplicate", f"{what} has two limits: give one limit per target"
            )
        seen.add(limit.target)
        if not limit.limits_anything:
            raise invalid_at(
                f"$.limits[{index}]",
                "limits nothing",
                "A limit needs max_running, max_running_per_key or rate",
            )
        if limit.target is None and limit.max_running_per_key is not None:
            raise invalid_at(
                f"$.limits[{index}].max_running_per_key",
                "needs a target",
                "Concurrency keys belong to a target: name the target of max_running_per_key",
            )
        if limit.target is None and limit.rate is not None and limit.rate.per_key:
            raise invalid_at(
                f"$.limits[{index}].rate.per_key",
                "needs a target",
                "Concurrency keys belong to a target: name the target of a rate with per_key",
            )
    recording = app.store.recording(by(principal, "limit.put", found.id))
    stored = await recording.concurrency.put(found.id, limits)
    # A higher limit can make queued runs claimable.
    app.notifier.publish((queue_key(found.id), PUSH_KEY))
    return stored


async def put_one(app: App, principal: Principal, project: str, limit: ConcurrencyLimit) -> list[Occupancy]:
    """Set the limit of one target, or of the whole project (target None), and keep the others. A limit of nothing removes
    it.

    All limits are replaced together, so a concurrent change may be lost.
    """
    others = await _others(app, principal, project, limit.target)
    return await put(app, principal, project, [*others, limit] if limit.limits_anything else others)


async def drop_one(app: App, principal: Principal, project: str, target: str | None) -> list[Occupancy]:
    """Remove the limit of one target, or of the whole project, and keep the others, as in `put_one`."""
    return await put(app, principal, project, await _others(app, principal, project, target))


async def _others(app: App, principal: Principal, project: str, target: str | None) -> list[ConcurrencyLimit]:
    found = await locate.project(app, principal, Scope.ADMIN, project)
    return [
        occupancy.limit
        for occupancy in await app.store.concurrency.of(found.id)
        if occupancy.limit.target != target
    ]
