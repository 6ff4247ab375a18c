"""Runs steps on SQLite: inside a job of the writer, or on a reader."""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from runstead.engines.sql.dialect import Dialect
from runstead.engines.sql.steps import (
    Call,
    Execute,
    ExecuteMany,
    Lock,
    Now,
    Results,
    Select,
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
        match step:
            case Select(name):
                statement = self._dialect.statement(name)
                given = {**step.arguments, "now": self._clock()} if step.timed else step.arguments
                cursor = connection.execute(statement.text, _values(bind(statement, given)))
                rows = cursor.fetchall()
                if not rows:
                    return rows
                return self._results.of(step, (column[0] for column in cursor.description), rows)
            case Execute(name, arguments):
                statement = self._dialect.statement(name)
                return connection.execute(statement.text, _values(bind(statement, arguments))).rowcount
            case ExecuteMany(name, rows):
                statement = self._dialect.statement(name)
                connection.executemany(statement.text, [_values(bind(statement, row)) for row in rows])
                return None
            case Lock():
                return None
            case Now():
                return self._clock()
            case Call(function, arguments):
                return function(connection, *arguments)


def _values(arguments: list[Any]) -> list[Any]:
    """Lists as JSON arrays, which json_each reads."""
    return [_encode(each).decode() if isinstance(each, list) else each for each in arguments]
