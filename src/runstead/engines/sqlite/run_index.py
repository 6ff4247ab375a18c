"""The index of runs in SQLite, and lists that are found by it."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, TypeVar

import msgspec

from runstead.engines.sql.run_index import Row, Statement, advance, faults
from runstead.engines.sql.run_search import Ask, Changed, Found, Page, Span, State, Terms, search
from runstead.engines.sql.run_terms import FACTS
from runstead.engines.sqlite.page import page_sql
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode
from runstead.engines.sqlite.sql import Q, put_terms
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import RunQuery

F = TypeVar("F", bound=Found)

_LABELS: Final = FACTS.index("labels")
_TOGETHER: Final = 128  # rows of one statement
decode = msgspec.json.Decoder(list[list[Any]]).decode


class SqliteRunIndex:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def advance(self) -> int:
        return await advance(self)

    async def faults(self, after: int) -> tuple[list[str], int | None]:
        return await faults(self, after)

    async def read(self, name: str, *arguments: Any) -> Sequence[Row]:
        return await self._readers.do(lambda c: _rows(c, name, arguments))

    async def at_once(self, *asked: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        def read(connection: sqlite3.Connection) -> list[Sequence[Row]]:
            connection.execute("BEGIN")
            try:
                return [_rows(connection, name, arguments) for name, arguments in asked]
            finally:
                connection.execute("COMMIT")

        return await self._readers.do(read)

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

    async def settled(self) -> bool:
        return True  # there is one writer: what it did before is there


def _put(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Many at a time: each statement is a hand-over between threads."""
    whole = len(rows) // _TOGETHER * _TOGETHER
    for start in range(0, whole, _TOGETHER):
        connection.execute(put_terms(_TOGETHER), [*chain(*rows[start : start + _TOGETHER])])
    if whole < len(rows):
        connection.execute(put_terms(len(rows) - whole), [*chain(*rows[whole:])])


def found(
    connection: sqlite3.Connection,
    query: RunQuery,
    columns: str,
    convert: Callable[[tuple[Any, ...]], Found],
) -> list[Any]:
    """The list of a query."""
    looking = search(query)
    try:
        ask = next(looking)
        while True:
            if isinstance(ask, Page):
                sql, arguments = page_sql(ask.query, columns, ask.seqs)
                ask = looking.send([convert(row) for row in connection.execute(sql, arguments)])
            else:
                ask = looking.send(_rows(connection, *_statement(ask)))
    except StopIteration as over:
        return list(over.value)


def _statement(ask: Ask) -> tuple[str, Sequence[Any]]:
    match ask:
        case State():
            return "index_mark", ()
        case Changed():
            return "index_changed", ()
        case Terms(blocks, terms):
            return "index_terms", (blocks, terms)
        case Span(blocks, first, end):
            return "index_span", (blocks, first, end)
    raise AssertionError(ask)


def _rows(connection: sqlite3.Connection, name: str, arguments: Sequence[Any]) -> Sequence[Row]:
    values = [encode(one).decode() if isinstance(one, list) else one for one in arguments]
    if name in ("index_facts", "index_facts_of"):
        (told,) = connection.execute(Q[name], values).fetchone()
        return [
            (*row[:_LABELS], row[_LABELS] and row[_LABELS].encode(), *row[_LABELS + 1 :])
            for row in decode(told)
        ]
    if name != "index_terms":
        return connection.execute(Q[name], values).fetchall()
    return connection.execute(_terms_sql(len(arguments[1])), (values[0], *arguments[1])).fetchall()


@cache
def _terms_sql(count: int) -> str:
    """A JSON array holds no bytes, so each term has a place of its own."""
    return (
        "SELECT block, term, runs FROM json_each(?) AS b CROSS JOIN run_terms"  # noqa: S608 - our own names
        f" ON block = b.value AND term IN ({', '.join('?' * count)})"
    )
