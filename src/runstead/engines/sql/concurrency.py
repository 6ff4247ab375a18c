"""Limits on running runs.

On PostgreSQL, a claim in a project that has limits holds the project's lock from before it counts until its commit, so
the next claim counts what it took. Projects without limits take no lock.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from runstead.core import limits as bounds
from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy
from runstead.core.queue.rate import Rate, Unit, bucket_of
from runstead.engines.sql.methods import SqlNoun, read
from runstead.engines.sql.rates import levels
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    execute_many,
    lock,
    now,
    select,
    select_timed,
    value,
)

#: How a limit without `max_running` is stored: earlier versions need a number.
_NO_LIMIT: Final = (1 << 31) - 1


class Occupied(NamedTuple):
    """A limit as it is stored: `target` is '' for the whole project. `running`: how many runs count for it."""

    project_id: str
    target: str
    max_running: int
    running: int
    max_running_per_key: int | None = None
    rate_limit: int | None = None
    rate_period_seconds: int | None = None
    rate_per_key: bool | None = None
    rate_unit: Unit | None = None

    @property
    def limit(self) -> ConcurrencyLimit:
        most = None if self.max_running == _NO_LIMIT else self.max_running
        rate = None
        if self.rate_limit is not None and self.rate_period_seconds is not None:
            unit = self.rate_unit or "runs"
            rate = Rate(self.rate_limit, self.rate_period_seconds, bool(self.rate_per_key), unit)
        return ConcurrencyLimit(
            self.target or None, max_running=most, max_running_per_key=self.max_running_per_key, rate=rate
        )


class SqlConcurrency(SqlNoun):
    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        rows = [
            {
                "project_id": project_id,
                "target": limit.target or "",
                "max_running": _NO_LIMIT if limit.max_running is None else limit.max_running,
                "max_running_per_key": limit.max_running_per_key,
                "rate_limit": limit.rate and limit.rate.limit,
                "rate_period_seconds": limit.rate and limit.rate.period_seconds,
                "rate_per_key": limit.rate and limit.rate.per_key,
                "rate_unit": limit.rate and limit.rate.unit,
            }
            for limit in limits
        ]

        def put(_now: int) -> Steps[list[Occupancy]]:
            yield from lock(LockSpace.RUNNING, [project_id])
            yield from lock(LockSpace.BUDGETS, [project_id])  # usage is taken from buckets under it
            dropped = yield from select("drop_concurrency_limits", Occupied, project_id=project_id)
            yield from execute_many("add_concurrency_limit", rows)
            old = {row.limit.target: row.limit for row in dropped}
            new = {limit.target: limit for limit in limits}
            for target in {**old, **new}:
                was, becomes = old.get(target), new.get(target)
                yield from changed(was, becomes)
                if was is not None and was.rate is not None and (becomes is None or becomes.rate != was.rate):
                    drop = "drop_token_buckets" if was.rate.unit == "tokens" else "drop_rate_buckets"
                    yield from execute(drop, project_id=project_id, target=target or "")
            return (yield from _shown(project_id))

        return await self._database.write(put)

    async def of(self, project_id: str) -> list[Occupancy]:
        return await self._database.scan(_shown, project_id)

    @read
    def next_token(self, project_id: str, targets: Sequence[str | None], since_ms: int) -> Steps[int | None]:
        time = yield from now()
        names = [target or "" for target in targets]
        at = yield from value("next_token", project_id=project_id, targets=names, since=time - since_ms)
        return None if at is None else max(at - time, 0)


def _shown(project_id: str) -> Steps[list[Occupancy]]:
    """The limits of a project as readers see them."""
    found = yield from occupancies(project_id, bounds.running_counted_max)
    slots = ConcurrencySlots.from_occupancies(project_id, found)
    left = yield from levels(slots, (yield from now()))
    return [
        replace(one, rate_left=left[bucket_of(rate, project_id, one.limit.target, None)])
        if (rate := one.limit.rate) is not None and not rate.per_key
        else one
        for one in found
    ]


def occupancies(project_id: str, most: int, *, claims: bool = False) -> Steps[list[Occupancy]]:
    """The limits of a project, and how many runs count for each, up to `most`."""
    rows = yield from occupied([project_id], most, claims=claims)
    return [Occupancy(row.limit, row.running) for _, row in rows]


def occupied(
    project_ids: Sequence[str], most: int, *, claims: bool = False
) -> Steps[list[tuple[int, Occupied]]]:
    """(the time in ms, limit) for each limit of these projects. `claims`: nothing is counted where claims have no
    limit.
    """
    return select_timed(
        "occupancies",
        Occupied,
        project_ids=list(project_ids),
        most=most,
        uncounted=_NO_LIMIT if claims else _NO_LIMIT + 1,
    )
