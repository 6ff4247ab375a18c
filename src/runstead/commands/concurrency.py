"""Limits on running runs: who may set them, and whom that wakes."""

from collections.abc import Sequence

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core import limits as bounds
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.ports.notifier import PUSH_KEY, queue_key


async def get(app: App, principal: Principal, project: str) -> list[Occupancy]:
    """The project's limits and how many runs count for each."""
    refuse_bound(principal, "sees no limits")
    found = await locate.project(app, principal, Scope.RUNS_READ, project)
    return await app.store.concurrency.of(found.id)


async def put(
    app: App, principal: Principal, project: str, limits: Sequence[ConcurrencyLimit]
) -> list[Occupancy]:
    """Replace the project's limits. INVALID_REQUEST where a target is named twice, or where they are too many."""
    found = await locate.project(app, principal, Scope.ADMIN, project)
    most = bounds.concurrency_limits_per_project_max
    if len(limits) > most:
        raise Error(
            "INVALID_REQUEST",
            f"A project has at most {most} limits, not {len(limits)}",
            errors=(("$.limits", "too many"),),
        )
    seen: set[str | None] = set()
    for place, limit in enumerate(limits):
        if limit.target in seen:
            what = "The whole project" if limit.target is None else limit.target
            raise Error(
                "INVALID_REQUEST",
                f"{what} is limited twice: name each target once",
                errors=((f"$.limits[{place}].target", "named twice"),),
            )
        seen.add(limit.target)
    stored = await app.store.concurrency.put(found.id, limits)
    # There may be more room than before.
    app.notifier.publish((queue_key(found.id), PUSH_KEY))
    return stored


async def put_one(app: App, principal: Principal, project: str, limit: ConcurrencyLimit) -> list[Occupancy]:
    """Set the limit of one target, or of the whole project, beside those that there are. What somebody else sets at the
    same moment may be lost: limits are replaced together.
    """
    return await put(app, principal, project, [*await _others(app, principal, project, limit.target), limit])


async def drop_one(app: App, principal: Principal, project: str, target: str | None) -> list[Occupancy]:
    """Take the limit of one target, or of the whole project, away; the others stay, as in `put_one`."""
    return await put(app, principal, project, await _others(app, principal, project, target))


async def _others(app: App, principal: Principal, project: str, target: str | None) -> list[ConcurrencyLimit]:
    found = await locate.project(app, principal, Scope.ADMIN, project)
    return [one.limit for one in await app.store.concurrency.of(found.id) if one.limit.target != target]
