"""Prices of models."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from runstead.core.usage.price import Price
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import LockSpace, Steps, changed, execute, first, lock, select
from runstead.ports.store import Count


class _Counts(NamedTuple):
    """Prices of a project: all of them, and those of one model (0 or 1)."""

    total: int
    same: int


class SqlPrices(SqlNoun):
    @command
    def put(self, now: int, price: Price, guard: Count) -> Steps[Price]:
        yield from lock(LockSpace.PRICES, [price.project_id])
        name = _name(price.project_id, price.provider, price.model)
        (counts,) = yield from select("count_prices", _Counts, **name)
        if not counts.same:
            guard(counts.total)
        old = yield from first("price", Price, **name)
        new = replace(price, updated_at=now)
        yield from execute("put_price", new)
        yield from changed(old, new)
        return new

    async def of(self, project_id: str) -> list[Price]:
        return await self._database.read(select, "prices", Price, project_id=project_id)

    @command
    def delete(self, _now: int, project_id: str, provider: str, model: str) -> Steps[bool]:
        deleted = yield from first("delete_price", Price, **_name(project_id, provider, model))
        yield from changed(deleted, None)
        return deleted is not None


def _name(project_id: str, provider: str, model: str) -> dict[str, Any]:
    return {"project_id": project_id, "provider": provider, "model": model}
