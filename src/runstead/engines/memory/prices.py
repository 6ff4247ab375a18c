"""Prices of models, in memory."""

from msgspec.structs import replace

from runstead.core.usage.price import Price
from runstead.engines.memory.journal import Effect, Journal
from runstead.ports.store import Count, Prices

_Name = tuple[str, str, str]


def _name(price: Price) -> _Name:
    return price.project_id, price.provider, price.model


class MemoryPrices(Prices):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._prices: dict[_Name, Price] = {}

    def _of(self, project_id: str) -> list[Price]:
        return [one for one in self._prices.values() if one.project_id == project_id]

    async def put(self, price: Price, guard: Count) -> Price:
        def plan(now: int) -> tuple[Price, Effect]:
            if _name(price) not in self._prices:
                guard(len(self._of(price.project_id)))
            new = replace(price, updated_at=now)
            return new, lambda: self._prices.update({_name(new): new})

        return self._journal.write(None, plan)

    async def of(self, project_id: str) -> list[Price]:
        return sorted(self._of(project_id), key=_name)

    async def delete(self, project_id: str, provider: str, model: str) -> bool:
        name = (project_id, provider, model)
        return self._journal.write(
            None, lambda _: (name in self._prices, lambda: self._prices.pop(name, None))
        )
