"""Readers beside the writers: a few sessions that cannot write."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from runstead import limits
from runstead.postgres.connection import Connection, connect, is_lost, trouble_with
from runstead.postgres.pool import Pool

T = TypeVar("T")
_TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Readers:
    def __init__(self, url: str) -> None:
        self._pool = Pool(
            lambda: connect(url, default_transaction_read_only="on"), limits.postgres_readers_max
        )

    async def do(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What the read returns. It sees every commit that was acknowledged before the call. A read whose session
        broke is tried once more in a new one.
        """
        try:
            try:
                return await self._once(read)
            except _TROUBLE as trouble:
                if not is_lost(trouble):
                    raise
                self._pool.drop_idle()
                return await self._once(read)
        except _TROUBLE as trouble:
            raise trouble_with(trouble, "read") from trouble

    async def _once(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._pool.session() as connection:
            return await read(connection)

    async def close(self) -> None:
        await self._pool.close()
