"""The index of runs in PostgreSQL, and lists that are found by it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from runstead.core import limits
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.page import page_sql
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import RUNS, Q
from runstead.engines.sql.run_index import Row, Statement, advance, faults
from runstead.engines.sql.run_search import Changed, Found, Page, Search, Span, State, Terms, search
from runstead.ports.store import RunQuery

#: Those that take all rows at once.
_MANY = frozenset({"put_terms", "drop_changes"})


class PostgresRunIndex:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def advance(self) -> int:
        return await advance(self)

    async def faults(self, after: int) -> tuple[list[str], int | None]:
        return await faults(self, after)

    async def read(self, name: str, *arguments: Any) -> Sequence[Row]:
        return await self._readers.do(lambda c: c.fetch(Q[name], *arguments))

    async def at_once(self, *asked: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        async def read(connection: Connection) -> list[Sequence[Row]]:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [await connection.fetch(Q[name], *arguments) for name, arguments in asked]

        return await self._readers.do(read)

    async def write(self, version: int, statements: Sequence[Statement]) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            if await connection.execute(Q["index_version"], version) != "UPDATE 1":
                return False
            for name, rows in statements:
                if name in _MANY:
                    await connection.execute(Q[name], *columns_of(rows))
                else:
                    await connection.executemany(Q[name], rows)
            return True

        return await self._writer.do(job)

    async def settled(self) -> bool:
        until = time.monotonic() + limits.index_settle_s
        early = left = {row[0] for row in await self.read("index_writers")}
        while left and time.monotonic() < until:
            await asyncio.sleep(0.02)
            left = early & {row[0] for row in await self.read("index_writers")}
        return not left


async def found(
    readers: Readers, query: RunQuery, columns: str, convert: Callable[[Any], Found], table: str = RUNS
) -> list[Any]:
    """The list of a query."""
    looking = search(query)
    answer: Sequence[Any] | None = None
    while True:
        ask = await asyncio.to_thread(_next, looking, answer)
        match ask:
            case list():
                return ask
            case Page(asked, seqs):
                sql, arguments = page_sql(asked, columns, table, seqs)
                answer = [convert(row) for row in await readers.rows(sql, *arguments)]
            case State():
                answer = await readers.rows(Q["index_mark"])
            case Changed():
                answer = await readers.rows(Q["index_changed"])
            case Terms(blocks, terms):
                answer = await readers.rows(Q["index_terms"], blocks, terms)
            case Span(blocks, first, end):
                answer = await readers.rows(Q["index_span"], blocks, first, end)


def _next(looking: Search, answer: Sequence[Any] | None) -> Any:
    """What it asks next, or the list that it found."""
    try:
        return next(looking) if answer is None else looking.send(answer)
    except StopIteration as over:
        return over.value
