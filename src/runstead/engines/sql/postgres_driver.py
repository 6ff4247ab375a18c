"""Runs steps on PostgreSQL: inside a transaction of the writer, or on a reader."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import asyncpg

from runstead.engines.sql.dialect import Dialect
from runstead.engines.sql.steps import (
    Call,
    Changed,
    Each,
    Execute,
    ExecuteMany,
    Lock,
    Now,
    RaceLostError,
    Results,
    Select,
    SelectPage,
    Step,
    Steps,
    bind,
    size_of,
)
from runstead.ports.store.list_page import ListPage

T = TypeVar("T")

_rows_fetched: Final = 16  # at a time, of a page whose rows may be large
_rows_used: Final = 200  # at a time, of rows that are used one by one


class PostgresDriver:
    """`tick` turns the database's time (ms) into the engine's, which never runs backwards. `reads`: it runs outside of
    transactions, so that a statement may fail and the next one succeed.
    """

    def __init__(self, dialect: Dialect, tick: Callable[[int], int], *, reads: bool = False) -> None:
        self._dialect = dialect
        self._tick = tick
        self._results = Results(tick)
        self._reads = reads

    async def run(self, connection: asyncpg.Connection, steps: Steps[T]) -> T:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            except RaceLostError as race:
                raise asyncpg.SerializationError(str(race)) from race
            answer = await self._answer(connection, step)

    async def _answer(self, connection: asyncpg.Connection, step: Step) -> Any:
        match step:
            case Select(name, arguments):
                statement = self._dialect.statement(name)
                try:
                    rows = await connection.fetch(statement.text, *bind(statement, arguments))
                except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
                    if not self._reads:
                        raise
                    return []  # an argument has the character NUL, which no stored text has
                return self._results.of(step, rows[0].keys(), rows) if rows else []
            case SelectPage():
                return await self._page(connection, step)
            case Each(name, arguments, use):
                statement = self._dialect.statement(name)
                values = bind(statement, arguments)
                async for row in connection.cursor(statement.text, *values, prefetch=_rows_used):
                    use(dict(row))
                return None
            case Execute(name, arguments):
                statement = self._dialect.statement(name)
                status = await connection.execute(statement.text, *bind(statement, arguments))
                return int(status.rpartition(" ")[2])  # "UPDATE 1", "INSERT 0 1"
            case ExecuteMany(name, rows):
                statement = self._dialect.statement(name)
                await connection.executemany(statement.text, [bind(statement, row) for row in rows])
                return None
            case Lock(space, names):
                lock = self._dialect.statement("lock_names")
                arguments = {"space": int(space), "names": list(names)}
                await connection.execute(lock.text, *bind(lock, arguments))
                return None
            case Changed():
                return None  # no audit log is written
            case Now():
                return self._tick(await connection.fetchval(self._dialect.statement("clock").text))
            case Call(function, arguments):
                return await function(connection, *arguments)

    async def _page(self, connection: asyncpg.Connection, step: SelectPage) -> ListPage[Any]:
        statement = self._dialect.statement(step.statement)
        arguments = bind(statement, {**step.arguments, "limit": step.limit + 1})
        rows: list[asyncpg.Record] = []
        size = 0
        try:
            async with connection.transaction(readonly=self._reads):  # which a cursor needs
                async for row in connection.cursor(statement.text, *arguments, prefetch=_rows_fetched):
                    rows.append(row)
                    size += size_of(row)
                    if len(rows) > 1 and size > step.bytes_max:
                        break
        except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
            if not self._reads:
                raise
        if not rows:  # without a row the columns, from which a decoder is derived, are unknown
            return ListPage([], more=False)
        return self._results.page(step, rows[0].keys(), rows)
