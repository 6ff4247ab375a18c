"""The PostgreSQL store: a database that many replicas share."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from runstead.core.migration import PendingMigration
from runstead.engines.postgres.batches import PostgresBatches
from runstead.engines.postgres.commit.commands import decide_group
from runstead.engines.postgres.commit.group import GroupCommit
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import (
    BROKEN,
    Connection,
    address,
    connect_alone,
    plainly,
    session_alone,
)
from runstead.engines.postgres.database import PostgresDatabase
from runstead.engines.postgres.health import Health
from runstead.engines.postgres.integrity import PostgresIntegrity, read_sizes
from runstead.engines.postgres.leadership import LeadershipDatabase
from runstead.engines.postgres.migrate import migrate, pending, refuse_old_server
from runstead.engines.postgres.partitions import make_partitions
from runstead.engines.postgres.pooler import refuse_transaction_mode
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.retention import PostgresRetention
from runstead.engines.postgres.rollups import PostgresRollups, note_moved
from runstead.engines.postgres.run_index import PostgresRunIndex
from runstead.engines.postgres.runs import PostgresRuns
from runstead.engines.postgres.sql import CLOCK
from runstead.engines.postgres.standbys import Standbys
from runstead.engines.sql.nouns import SqlNouns
from runstead.ports.store import PoolUse, Sizes

T = TypeVar("T")

_DAY_S = 86_400


class PostgresStore(SqlNouns):
    """`url` as libpq takes it. `read_url`: of standbys, for reads of much data. The time is the database's; tests give a
    `clock` (ms) of their own.
    """

    integrity: PostgresIntegrity

    def __init__(self, url: str, clock: Callable[[], int] | None = None, read_url: str | None = None) -> None:
        self._url = url
        self._standbys = None if read_url is None else Standbys(url, read_url)
        self._clock = clock
        self._partitions_at = 0.0
        self.integrity = PostgresIntegrity(url)
        self._closing = AsyncExitStack()  # closes last what was opened first
        self._closing.push_async_callback(self.integrity.close)

    async def open(self) -> None:
        async def ready(connection: Connection) -> list[str]:
            if await connection.fetchval("SELECT to_regclass('copy_progress')") is not None:
                raise RuntimeError(
                    f"{address(self._url)} holds an unfinished copy: finish it with `runstead db copy`"
                )
            return await self._migrated(connection)

        await self._alone(ready)
        if self._standbys is not None:
            self._closing.push_async_callback(self._standbys.close)
            await self._standbys.open()
        clock = Clock(self._clock)
        self._readers = readers = Readers(self._url, self._standbys)
        self._writer = writer = Writer(self._url, clock)
        self._group_commit = group_commit = GroupCommit(self._url, clock, decide_group)
        self._health = Health(self._url, clock, group_commit)
        leadership = LeadershipDatabase(self._url, self._clock)
        for part in (readers, writer, group_commit, self._health, leadership):
            self._closing.push_async_callback(part.close)
        database = PostgresDatabase(writer, readers, clock)
        self.open_nouns(database, leadership, note_moved)
        self.runs = PostgresRuns(group_commit, writer, readers, clock)
        self.batches = PostgresBatches(database, writer)
        self.retention = PostgresRetention(self._url, database, writer)
        self.run_index = PostgresRunIndex(writer, readers)
        self.rollups = PostgresRollups(self._url, database, writer)

    async def migrate(self) -> list[str]:
        return await self._alone(self._migrated)

    async def _migrated(self, connection: Connection) -> list[str]:
        applied = await migrate(connection)
        await self._look_ahead(connection)
        return applied

    async def pending(self) -> list[PendingMigration]:
        return await self._alone(pending)

    async def _alone(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            connection = await connect_alone(self._url)
            try:
                refuse_old_server(connection)
                await refuse_transaction_mode(connection, self._url)
                return await work(connection)
            finally:
                await connection.close()
        except (*BROKEN, ValueError) as trouble:
            raise RuntimeError(
                f"cannot use the database {address(self._url)}: {plainly(trouble)}"
            ) from trouble

    async def close(self) -> None:
        await self._closing.aclose()

    async def check(self) -> dict[str, Any]:
        await self._health.check()
        return self.facts()

    def expected_wait_s(self) -> float:
        return self._group_commit.expected_wait_s()

    @property
    def address(self) -> str:
        return address(self._url)

    def facts(self) -> dict[str, Any]:
        group_commit, writer, health = self._group_commit, self._writer, self._health
        facts = {
            "engine": "postgres",
            "queue_depth": group_commit.waiting + writer.waiting,
            "commits": group_commit.commits + writer.commits + health.commits,
            "commands": group_commit.commands + writer.commands,
            "blocked_writes": group_commit.blocked,
        }
        return facts if self._standbys is None else facts | {"standbys": self._standbys.facts()}

    def pools(self) -> list[PoolUse]:
        return self._readers.pools() + self._writer.pools()

    async def sizes(self) -> Sizes:
        return await self._readers.scan(read_sizes)

    async def forget(self, age_ms: int, limit: int) -> int:
        """Also looks, once a day, whether the next months have their partitions."""
        if time.monotonic() - self._partitions_at > _DAY_S:
            async with session_alone(self._url, "make room for the next months") as connection:
                await self._look_ahead(connection)
        return await super().forget(age_ms, limit)

    async def _look_ahead(self, connection: Connection) -> None:
        await make_partitions(connection, await connection.fetchval(f"SELECT {CLOCK}"))
        self._partitions_at = time.monotonic()
