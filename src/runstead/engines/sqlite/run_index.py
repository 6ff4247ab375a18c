"""The run index in SQLite, and searches by it."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core.runs.run import Run, large_bytes
from runstead.core.usage.activity import RunSummary
from runstead.engines.sql.run_index import Row, SqlRunIndex, Statement
from runstead.engines.sql.run_rows import to_summary
from runstead.engines.sql.run_search import STATEMENTS, Page, search
from runstead.engines.sql.run_terms import FACTS
from runstead.engines.sqlite.connection import snapshot
from runstead.engines.sqlite.page import chosen_sql, page_sql
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode, to_run
from runstead.engines.sqlite.sql import Q, put_terms
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import ListPage, RunQuery, SeqPage

_LABELS: Final = FACTS.index("labels")
_ROWS_PER_STATEMENT: Final = 128
decode = msgspec.json.Decoder(list[list[Any]]).decode


class SqliteRunIndex(SqlRunIndex):
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def read(self, name: str, *arguments: Any) -> Sequence[Row]:
        return await self._readers.scan(lambda c: _rows(c, name, arguments))

    async def read_snapshot(self, *reads: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        def read(connection: sqlite3.Connection) -> list[Sequence[Row]]:
            with snapshot(connection):
                return [_rows(connection, name, arguments) for name, arguments in reads]

        return await self._readers.scan(read)

    async def write(self, version: int, statements: Sequence[Statement]) -> bool:
        def job(connection: sqlite3.Connection, _now: int) -> bool:
            if connection.execute(Q["index_version"], (version,)).rowcount != 1:
                return False
            for name, rows in statements:
                if name == "put_terms":
                    _put(connection, rows)
                elif name == "drop_changes":
                    connection.execute(Q[name], (encode([*chain(*rows)]).decode(),))
                else:
                    connection.executemany(Q[name], rows)
            return True

        return await self._writer.do(job, keeps_cache=True)

    async def wait_for_writers(self) -> bool:
        return True  # the one writer has committed everything before


def _put(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write many rows per statement, because each statement costs a switch between threads."""
    whole = len(rows) // _ROWS_PER_STATEMENT * _ROWS_PER_STATEMENT
    for start in range(0, whole, _ROWS_PER_STATEMENT):
        connection.execute(
            put_terms(_ROWS_PER_STATEMENT), [*chain(*rows[start : start + _ROWS_PER_STATEMENT])]
        )
    if whole < len(rows):
        connection.execute(put_terms(len(rows) - whole), [*chain(*rows[whole:])])


def found(connection: sqlite3.Connection, query: RunQuery) -> list[RunSummary]:
    """The runs of a query."""
    steps = search(query)
    try:
        request = next(steps)
        while True:
            if isinstance(request, Page):
                sql, arguments = page_sql(request.query, request.seqs)
                request = steps.send([to_summary(row) for row in connection.execute(sql, arguments)])
            else:
                request = steps.send(_rows(connection, STATEMENTS[type(request)], request))
    except StopIteration as stop:
        return list(stop.value)


def page_of_query(connection: sqlite3.Connection, query: RunQuery) -> ListPage[Run]:
    """See `runstead.ports.store.Runs.page`."""
    with snapshot(connection):
        runs = found(connection, replace(query, limit=query.limit + 1))
        return page_of(connection, ((run.seq,) for run in runs), query)


def page_of(
    connection: sqlite3.Connection, rows: Iterable[tuple[int]], page: RunQuery | SeqPage
) -> ListPage[Run]:
    """Read the runs with these seqs, of which there is one more than the limit of the page if more runs follow.

    Runs are read one by one, because a compressed value shows its size only then.
    """
    seqs = [seq for (seq,) in rows]
    runs: list[Run] = []
    size = 0
    for row in connection.execute(chosen_sql(page.omit), (encode(seqs[: page.limit]).decode(),)):
        run = to_run(row)
        size += large_bytes(run)
        if runs and page.bytes_max is not None and size > page.bytes_max:
            return ListPage(runs, more=True)
        runs.append(run)
    return ListPage(runs, more=len(seqs) > page.limit)


def _rows(connection: sqlite3.Connection, name: str, arguments: Sequence[Any]) -> Sequence[Row]:
    values = [encode(value).decode() if isinstance(value, list) else value for value in arguments]
    if name in ("index_facts", "index_facts_of"):
        (encoded,) = connection.execute(Q[name], values).fetchone()
        return [
            (*row[:_LABELS], row[_LABELS] and row[_LABELS].encode(), *row[_LABELS + 1 :])
            for row in decode(encoded)
        ]
    if name != "index_terms":
        return connection.execute(Q[name], values).fetchall()
    return connection.execute(_terms_sql(len(arguments[1])), (values[0], *arguments[1])).fetchall()


@cache
def _terms_sql(count: int) -> str:
    """JSON cannot hold bytes, so each term is a parameter."""
    return (
        "SELECT block, term, runs FROM json_each(?) AS b CROSS JOIN run_terms"  # noqa: S608 - our own names
        f" ON block = b.value AND term IN ({', '.join('?' * count)})"
    )
