"""A few sessions, lent out one at a time. Nothing is asked of a session when it comes back, so lending costs nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from runstead import limits
from runstead.errors import Error
from runstead.postgres.connection import BROKEN, Connection, NoSessionError, is_lost


class Pool:
    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A session that is ready. One that broke, or was left in the middle of something, does not come back."""
        try:
            async with asyncio.timeout(limits.session_wait_s):
                await self._slots.acquire()
        except TimeoutError:
            raise Error("STORE_BUSY", "Every database session is busy", retry_after_s=1) from None
        try:
            connection = await self._take()
            sound = False
            try:
                yield connection
                sound = True
            except Exception as trouble:
                sound = not is_lost(trouble, connection)
                raise
            finally:
                self._give_back(connection, sound=sound)
        finally:
            self._slots.release()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except BROKEN as trouble:
            raise NoSessionError(str(trouble)) from trouble

    def _give_back(self, connection: Connection, *, sound: bool) -> None:
        if connection.is_closed():
            return
        if self._closed or not sound or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)

    def drop_idle(self) -> None:
        """One session broke: the others are probably gone too, and only do not know it yet."""
        while self._idle:
            self._idle.pop().terminate()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except BROKEN:
                connection.terminate()
