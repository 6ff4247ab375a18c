"""Prices of models, in PostgreSQL."""

from msgspec.structs import astuple, replace

from runstead.core.usage.price import Price
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import PRICES_OF, Q
from runstead.ports.store import Count


class PostgresPrices:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put(self, price: Price, guard: Count) -> Price:
        async def job(connection: Connection, now: int) -> Price:
            await connection.execute(Q["lock_names"], PRICES_OF, [price.project_id])
            name = (price.project_id, price.provider, price.model)
            count, there = await connection.fetchrow(Q["count_prices"], *name)
            if not there:
                guard(count)
            new = replace(price, updated_at=now)
            await connection.execute(Q["put_price"], *astuple(new))
            return new

        return await self._writer.do(job)

    async def of(self, project_id: str) -> list[Price]:
        return [Price(*row) for row in await self._readers.rows(Q["prices"], project_id)]

    async def delete(self, project_id: str, provider: str, model: str) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            return await connection.fetchval(Q["delete_price"], project_id, provider, model) is not None

        return await self._writer.do(job)
