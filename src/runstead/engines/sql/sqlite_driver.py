"""Runs steps on SQLite: inside a job of the writer, or on a reader."""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from runstead.engines.sql.dialect import Dialect, Statement
from runstead.engines.sql.steps import (
    Arguments,
    Call,
    Changed,
    Each,
    Execute,
    ExecuteMany,
    Lock,
    Now,
    Results,
    Select,
    SelectPage,
    Step,
    Steps,
    bind,
)

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class SqliteDriver:
    """`clock` returns the time in ms."""

    def __init__(self, dialect: Dialect, clock: Callable[[], int]) -> None:
        self._dialect = dialect
        self._clock = clock
        self._results = Results(int)

    def run(self, connection: sqlite3.Connection, steps: Steps[T]) -> T:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = self._answer(connection, step)

    def _answer(self, connection: sqlite3.Connection, step: Step) -> Any:
        if isinstance(step, Select):
            statement = self._dialect.statement(step.statement)
            arguments = {**step.arguments, "now": self._clock()} if step.timed else step.arguments
            cursor = connection.execute(statement.text, _values(statement, arguments))
            rows = cursor if step.stop is not None else cursor.fetchall()
            return (
                self._results.of(step, (column[0] for column in cursor.description), rows) if rows else rows
            )
        if isinstance(step, SelectPage):
            statement = self._dialect.statement(step.statement)
            arguments = {**step.arguments, "limit": step.limit + 1}
            cursor = connection.execute(statement.text, _values(statement, arguments))
            return self._results.page(step, (column[0] for column in cursor.description), cursor)
        if isinstance(step, Each):
            statement = self._dialect.statement(step.statement)
            cursor = connection.execute(statement.text, _values(statement, step.arguments))
            names = [column[0] for column in cursor.description]
            for row in cursor:
                step.use(dict(zip(names, row, strict=True)))
            return None
        if isinstance(step, Execute):
            statement = self._dialect.statement(step.statement)
            return connection.execute(statement.text, _values(statement, step.arguments)).rowcount
        if isinstance(step, ExecuteMany):
            statement = self._dialect.statement(step.statement)
            connection.executemany(statement.text, [_values(statement, row) for row in step.rows])
        elif isinstance(step, Now):
            return self._clock()
        elif isinstance(step, Call):
            return step.function(connection, *step.arguments)
        else:
            assert isinstance(step, Lock | Changed)  # there is one writer, and no audit log is written
        return None


def _values(statement: Statement, arguments: Arguments) -> list[Any]:
    """The arguments in order. Lists are passed as JSON arrays, which json_each reads."""
    return [_encode(each).decode() if isinstance(each, list) else each for each in bind(statement, arguments)]
