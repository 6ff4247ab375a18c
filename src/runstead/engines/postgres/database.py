"""Runs the steps of shared commands on PostgreSQL: writes in transactions of their own, reads on a reader."""

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from runstead.core import limits
from runstead.core.idempotency import Idempotency
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import DIALECT
from runstead.engines.sql.postgres_driver import PostgresDriver
from runstead.engines.sql.steps import Steps, values

P = ParamSpec("P")
T = TypeVar("T")


class PostgresDatabase:
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._reads = PostgresDriver(DIALECT, clock.tick, reads=True)
        self._pages = PostgresDriver(DIALECT, _no_time, reads=True)
        self._snapshots = PostgresDriver(DIALECT, _no_time)
        self._writes = PostgresDriver(DIALECT, clock.tick)

    async def read(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.do(lambda c: self._reads.run(c, steps(*args, **kwargs)))

    async def scan(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.scan(lambda c: self._reads.run(c, steps(*args, **kwargs)))

    async def page(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._readers.page(lambda c: self._pages.run(c, steps(*args, **kwargs)))

    async def snapshot(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async def read(connection: Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await self._snapshots.run(connection, steps(*args, **kwargs))

        return await self._readers.report(read)

    async def write(
        self, command: Callable[[int], Steps[T]], idempotency: Idempotency = None, *, quick: bool = False
    ) -> T:
        del quick  # no statement of this engine runs on the event loop

        async def job(connection: Connection, now: int) -> T:
            return await self._writes.run(connection, command(now))

        return await self._writer.do(idempotent(job, idempotency))

    async def settle(self) -> None:
        """Wait until all transactions that began before this call have ended, at most `limits.webhook_settle_s`."""
        until = time.monotonic() + limits.webhook_settle_s
        older = set(await self.read(values, "transactions_under_way"))
        while older and time.monotonic() < until:
            await asyncio.sleep(0.01)
            older &= set(await self.read(values, "transactions_under_way"))


def _no_time(_database_ms: int) -> int:
    raise AssertionError("a list may be read from a standby, whose clock does not count")
