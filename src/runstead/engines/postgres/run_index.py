"""The run index in PostgreSQL, and searches by it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import Run
from runstead.core.usage.activity import RunSummary
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.page import chosen_sql, matching_sql, page_sql, to_page
from runstead.engines.postgres.readers import Readers, rows
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.run_index import Row, SqlRunIndex, Statement
from runstead.engines.sql.run_rows import to_summary
from runstead.engines.sql.run_search import STATEMENTS, Page, Search, search
from runstead.ports.store import ListPage, RunQuery, SeqPage

#: Statements that take all rows as arrays.
_MANY = frozenset({"put_terms", "drop_changes"})


class PostgresRunIndex(SqlRunIndex):
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def read(self, name: str, *arguments: Any) -> Sequence[Row]:
        return await self._readers.scan(lambda c: c.fetch(Q[name], *arguments))

    async def read_snapshot(self, *reads: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        async def read(connection: Connection) -> list[Sequence[Row]]:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [await connection.fetch(Q[name], *arguments) for name, arguments in reads]

        return await self._readers.scan(read)

    async def write(self, version: int, statements: Sequence[Statement]) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            if await connection.execute(Q["index_version"], version) != "UPDATE 1":
                return False
            for name, values in statements:
                if name in _MANY:
                    await connection.execute(Q[name], *columns_of(values))
                else:
                    await connection.executemany(Q[name], values)
            return True

        return await self._writer.do(job)

    async def wait_for_writers(self) -> bool:
        until = time.monotonic() + limits.index_settle_s
        writers = unfinished = {row[0] for row in await self.read("index_writers")}
        while unfinished and time.monotonic() < until:
            await asyncio.sleep(0.02)
            unfinished = writers & {row[0] for row in await self.read("index_writers")}
        return not unfinished


async def found(readers: Readers, query: RunQuery) -> list[RunSummary]:
    """The runs of a query. The whole search is one read, so that it counts for its tenant while a thread computes."""
    return await readers.page(lambda c: _found(c, query))


async def _found(connection: Connection, query: RunQuery) -> list[RunSummary]:
    steps = search(query)
    answer: Sequence[Any] | None = None
    while True:
        request = await asyncio.to_thread(_next, steps, answer)
        match request:
            case list():
                return request
            case Page(page_query, seqs):
                sql, arguments = page_sql(page_query, seqs=seqs)
                answer = [to_summary(row) for row in await rows(connection, sql, *arguments)]
            case _:
                answer = await rows(connection, Q[STATEMENTS[type(request)]], *request)


async def page_of_query(readers: Readers, query: RunQuery) -> ListPage[Run]:
    """See `runstead.ports.store.Runs.page`.

    The filters are checked again where the values are read: a run that has stopped to match is left out.
    """

    async def read(connection: Connection) -> ListPage[Run] | None:
        summaries = await _found(connection, replace(query, limit=query.limit + 1))
        seqs = [run.seq for run in summaries[: query.limit]]
        values = await rows(connection, *matching_sql(query, seqs)) if seqs else []
        more = len(summaries) > query.limit
        return to_page(values, more=more) if values or not more else None

    while True:
        page = await readers.page(read)
        if page is not None:  # else every run of the page has changed since it was found
            return page


async def page_of(readers: Readers, name: str, page: SeqPage, *arguments: Any) -> ListPage[Run]:
    """Read the runs whose seqs the statement finds. It looks for one more than the limit of the page."""

    async def read(connection: Connection) -> ListPage[Run]:
        seqs = [seq for (seq,) in await rows(connection, Q[name], *arguments)]
        values = await rows(connection, *chosen_sql(seqs[: page.limit], page)) if seqs else []
        return to_page(values, more=len(seqs) > page.limit)

    return await readers.page(read)


def _next(steps: Search, rows: Sequence[Any] | None) -> Any:
    """The next request of the search, or its result."""
    try:
        return next(steps) if rows is None else steps.send(rows)
    except StopIteration as stop:
        return stop.value
