"""Runs the steps of shared commands on SQLite: writes as jobs of the writer, reads on a reader."""

import sqlite3
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from runstead.core.idempotency import Idempotency
from runstead.engines.sql.sqlite_driver import SqliteDriver
from runstead.engines.sql.steps import Steps
from runstead.engines.sqlite.connection import snapshot
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import DIALECT
from runstead.engines.sqlite.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")


class SqliteDatabase:
    def __init__(self, writer: Writer, readers: Readers, clock: Callable[[], int] | None = None) -> None:
        """`clock`: the time in ms, instead of the writer's monotonic time."""
        self._writer = writer
        self._readers = readers
        self._driver = SqliteDriver(DIALECT, clock or writer.now)

    async def read(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.do(lambda c: self._driver.run(c, steps(*args, **kwargs)))

    async def scan(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.scan(lambda c: self._driver.run(c, steps(*args, **kwargs)))

    page = scan

    async def snapshot(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        def read(connection: sqlite3.Connection) -> T:
            with snapshot(connection):
                return self._driver.run(connection, steps(*args, **kwargs))

        return await self._readers.scan(read)

    async def write(
        self, command: Callable[[int], Steps[T]], idempotency: Idempotency = None, *, quick: bool = False
    ) -> T:
        def job(connection: sqlite3.Connection, now: int) -> T:
            return self._driver.run(connection, command(now))

        return await self._writer.do(idempotent(job, idempotency), quick=quick)

    async def settle(self) -> None:
        """Nothing to wait for: the only writer has ended its transaction."""
