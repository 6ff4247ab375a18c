"""Prices of models, in SQLite."""

import sqlite3

from msgspec.structs import astuple, replace

from runstead.core.usage.price import Price
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Count


class SqlitePrices:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put(self, price: Price, guard: Count) -> Price:
        def job(connection: sqlite3.Connection, now: int) -> Price:
            name = (price.project_id, price.provider, price.model)
            count, there = connection.execute(Q["count_prices"], name).fetchone()
            if not there:
                guard(count)
            new = replace(price, updated_at=now)
            connection.execute(Q["put_price"], astuple(new))
            return new

        return await self._writer.do(job)

    async def of(self, project_id: str) -> list[Price]:
        return await self._readers.do(
            lambda c: [Price(*row) for row in c.execute(Q["prices"], (project_id,))]
        )

    async def delete(self, project_id: str, provider: str, model: str) -> bool:
        name = (project_id, provider, model)
        return await self._writer.do(lambda c, _: c.execute(Q["delete_price"], name).rowcount == 1)
