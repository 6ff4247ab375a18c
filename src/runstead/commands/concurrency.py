"""Concurrency limits of a project: read and replace them."""

from collections.abc import Sequence

from runstead.commands.access import Access, needs
from runstead.core import limits as bounds
from runstead.core.errors import invalid_at
from runstead.core.identity.principal import Scope
from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy
from runstead.ports.notifier import PUSH_KEY, queue_key


@needs(Scope.RUNS_READ, bound="cannot read concurrency limits")
async def get(access: Access) -> list[Occupancy]:
    """Return the project's limits, each with the number of runs that count against it."""
    return await access.store.concurrency.of(access.project_id)


@needs(Scope.ADMIN, records="limit.put")
async def put(access: Access, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
    """Replace the project's limits. Raises INVALID_REQUEST for a duplicate target or too many limits."""
    return await _put(access, limits)


async def _put(access: Access, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
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
    stored = await access.recording.concurrency.put(access.project_id, limits)
    # A higher limit can make queued runs claimable.
    access.app.notifier.publish((queue_key(access.project_id), PUSH_KEY))
    return stored


@needs(Scope.ADMIN, records="limit.put")
async def put_one(access: Access, limit: ConcurrencyLimit) -> list[Occupancy]:
    """Set the limit of one target, or of the whole project (target None), and keep the others. A limit of nothing removes
    it.

    All limits are replaced together, so a concurrent change may be lost.
    """
    others = await _others(access, limit.target)
    return await _put(access, [*others, limit] if limit.limits_anything else others)


@needs(Scope.ADMIN, records="limit.put")
async def drop_one(access: Access, target: str | None) -> list[Occupancy]:
    """Remove the limit of one target, or of the whole project, and keep the others, as in `put_one`."""
    return await _put(access, await _others(access, target))


async def _others(access: Access, target: str | None) -> list[ConcurrencyLimit]:
    known = await access.store.concurrency.of(access.project_id)
    return [occupancy.limit for occupancy in known if occupancy.limit.target != target]
