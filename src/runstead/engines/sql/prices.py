"""Prices of models."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from runstead.core.usage.price import Price
from runstead.engines.sql.steps import Database, LockSpace, Steps, changed, execute, first, lock, select
from runstead.ports.store import Count


class _Counts(NamedTuple):
    """Prices of a project: all of them, and those of one model (0 or 1)."""

    total: int
    same: int


class SqlPrices:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, price: Price, guard: Count) -> Price:
        def put(now: int) -> Steps[Price]:
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

        return await self._database.write(put)

    async def of(self, project_id: str) -> list[Price]:
        return await self._database.read(select, "prices", Price, project_id=project_id)

    async def delete(self, project_id: str, provider: str, model: str) -> bool:
        def delete(_now: int) -> Steps[bool]:
            deleted = yield from first("delete_price", Price, **_name(project_id, provider, model))
            yield from changed(deleted, None)
            return deleted is not None

        return await self._database.write(delete)


def _name(project_id: str, provider: str, model: str) -> dict[str, Any]:
    return {"project_id": project_id, "provider": provider, "model": model}
