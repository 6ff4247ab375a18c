"""A pool of read-only sessions."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from runstead.core import limits
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import (
    BROKEN,
    Connection,
    NoSessionError,
    connect,
    is_lost,
    trouble_with,
)

T = TypeVar("T")


class Readers:
    def __init__(self, url: str) -> None:
        self._pool = Pool(
            lambda: connect(url, default_transaction_read_only="on"), limits.postgres_readers_max
        )

    async def do(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Run the read. It sees every commit that was acknowledged before the call. If the session breaks, the read is
        retried once in a new one.
        """
        try:
            try:
                return await self._once(read)
            except BROKEN as error:
                if not is_lost(error) or isinstance(error, NoSessionError):
                    raise
                self._pool.drop_idle()
                return await self._once(read)
        except BROKEN as error:
            raise trouble_with(error, "read") from error

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows. No rows if an argument contains NUL, which no stored text contains."""

        async def read(connection: Connection) -> list[asyncpg.Record]:
            try:
                found: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
                return []
            return found

        return await self.do(read)

    async def row(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        rows = await self.rows(sql, *arguments)
        return rows[0] if rows else None

    async def _once(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._pool.session() as connection:
            return await read(connection)

    async def close(self) -> None:
        await self._pool.close()
