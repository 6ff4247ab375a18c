"""A pool of few sessions. It sends no statement when a session is returned, so taking and returning cost nothing.

Sessions of a `chained` pool may be returned in an empty transaction that COMMIT AND CHAIN has begun. It holds no lock and
no snapshot. But a session in a transaction reports no table statistics and runs into
`idle_in_transaction_session_timeout`, so a session that is idle for `session_limits.chain_idle_s` commits.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from runstead.core.errors import Error
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import BROKEN, Connection, NoSessionError, is_lost


class Pool:
    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], size: int, *, chained: bool = False
    ) -> None:
        self._connect = connect
        self._chained = chained
        self._idle: dict[Connection, float] = {}  # since when, the latest last
        self._unchaining: set[asyncio.Task[None]] = set()
        self._recovering: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A session that is ready. A broken one, or one with an open transaction, is closed when it is returned."""
        try:
            async with asyncio.timeout(session_limits.session_wait_s):
                await self._slots.acquire()
        except TimeoutError:
            raise Error("STORE_BUSY", "Every database session is busy", retry_after_s=1) from None
        try:
            connection = await self._take()
        except BaseException:
            self._slots.release()
            raise
        sound = recovering = False
        try:
            yield connection
            sound = True
        except asyncio.CancelledError:
            recovering = not connection.is_closed()
            raise
        except Exception as trouble:
            sound = not is_lost(trouble, connection)
            if not sound and isinstance(trouble, asyncpg.InterfaceError):
                raise ConnectionResetError("the session was closed") from trouble
            raise
        finally:
            if recovering:
                self._recovering.add(asyncio.ensure_future(self._recover(connection)))
            else:
                self._give_back(connection, sound=sound)
                self._slots.release()

    async def _recover(self, connection: Connection) -> None:
        """Return the session of a cancelled task once its statement has ended. asyncpg has asked the server to end it, and
        waits for that before the next statement. Until then the session counts as in use.
        """
        sound = False
        try:
            async with asyncio.timeout(session_limits.cancel_s):
                await connection.execute("ROLLBACK" if connection.is_in_transaction() else "SELECT 1")
            sound = True
        except BROKEN:
            pass  # the next task takes another session
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._recovering.discard(task)
            self._give_back(connection, sound=sound)
            self._slots.release()

    async def _take(self) -> Connection:
        while self._idle or self._unchaining:
            if not self._idle:  # ready sooner than a new session, and at most `size` are open
                await asyncio.wait(self._unchaining, return_when=asyncio.FIRST_COMPLETED)
                continue
            connection, _ = self._idle.popitem()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except BROKEN as trouble:
            raise NoSessionError(str(trouble)) from trouble

    def _give_back(self, connection: Connection, *, sound: bool) -> None:
        if connection.is_closed():
            return
        in_transaction = connection.is_in_transaction()
        if self._closed or not sound or (in_transaction and not self._chained):
            connection.terminate()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        if in_transaction and self._timer is None:
            self._timer = loop.call_later(session_limits.chain_idle_s, self._unchain_idle)

    def _unchain_idle(self) -> None:
        """Commit in sessions that have been idle for long enough, and set the timer for the others."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, since in list(self._idle.items()):
            if not connection.is_in_transaction():
                continue
            if (left := since + session_limits.chain_idle_s - now) > 0:
                self._timer = loop.call_later(left, self._unchain_idle)
                return  # the others were returned later
            del self._idle[connection]
            self._unchaining.add(asyncio.ensure_future(self._unchain(connection)))

    async def _unchain(self, connection: Connection) -> None:
        sound = False
        try:
            await connection.execute("COMMIT")
            sound = True
        except BROKEN:
            pass  # the next command takes another session
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._unchaining.discard(task)
            self._give_back(connection, sound=sound)

    def drop_idle(self) -> None:
        """Close the idle sessions after one broke: the others are probably broken too."""
        while self._idle:
            self._idle.popitem()[0].terminate()

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._unchaining or self._recovering:
            await asyncio.wait(self._unchaining | self._recovering)
        while self._idle:
            connection, _ = self._idle.popitem()
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except BROKEN:
                connection.terminate()
