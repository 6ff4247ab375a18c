"""One transaction: begin, commit, and look up its outcome if the session breaks during the commit.

Groups follow each other closely enough that BEGIN is worth saving: COMMIT AND CHAIN begins the next transaction, which is
empty until the next group. Each transaction reads its own number, so the outcome that is looked up is its own.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import asyncpg

from runstead.core.errors import Error
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import (
    BROKEN,
    Connection,
    NoSessionError,
    connect,
    is_lost,
    silence_s,
)
from runstead.engines.postgres.sql import Q

T = TypeVar("T")


class Clock:
    """The database's time, or a test's own clock. It never runs backwards."""

    def __init__(self, own: Callable[[], int] | None) -> None:
        self._own = own
        self._now = 0

    def tick(self, database_ms: int) -> int:
        self._now = max(self._now, database_ms if self._own is None else self._own())
        return self._now

    def own(self) -> int | None:
        """The time of a test's clock; None when the database's time is used."""
        return None if self._own is None else self._own()


class Transaction:
    """`now` and `xid` are set by the first statement, with `see`."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self.now = 0
        self.xid: str | None = None

    def see(self, database_ms: int, xid: str) -> int:
        self.now, self.xid = self._clock.tick(database_ms), xid
        return self.now

    def own_time(self) -> int | None:
        """The time for a statement that computes with it; None for the database's."""
        return self._clock.own()

    def advance(self, database_ms: int) -> int:
        """Set a later time, after a wait."""
        self.now = self._clock.tick(database_ms)
        return self.now

    async def moment(self) -> int:
        row = await self.connection.fetchrow(Q["moment"])
        return self.see(row[0], row[1])


_TIMELINE: Final = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""Changes when a standby takes over. A session ends before the timeline of its server changes."""

Work = Callable[[Transaction], Awaitable[T]]
"""Runs inside a transaction. It may run again after the session broke, so it has no other effects."""


class _InDoubtError(Exception):
    """The session broke during the commit."""

    def __init__(self, transaction: Transaction, result: Any) -> None:
        super().__init__()
        self.transaction = transaction
        self.result = result


class Transactions:
    """Runs work in transactions, at most `size` at a time. `chained`: for work that follows without a pause. `settings`
    override those of its sessions.
    """

    def __init__(self, url: str, clock: Clock, size: int, *, chained: bool = False, **settings: str) -> None:
        self._url = url
        self._clock = clock
        self._chained = chained
        self._settings = settings
        self._pool = Pool(self._connect, size, chained=chained)
        self._timelines: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
        self._unchained_at: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self.commits = 0

    async def _connect(self) -> Connection:
        connection = await connect(self._url, **self._settings)
        try:
            self._timelines[connection] = await connection.fetchval(_TIMELINE)
        except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError):
            pass  # some managed servers lack the function
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def run(self, work: Work[T]) -> T:
        """Return the work's result once it is durable. An exception rolls everything back.

        If the session breaks before its commit, the work is retried once on another session.
        """
        try:
            return await self._settled(work)
        except BROKEN as trouble:
            if not is_lost(trouble) or isinstance(trouble, NoSessionError):
                raise
        self._pool.drop_idle()
        return await self._settled(work)

    async def _settled(self, work: Work[T]) -> T:
        try:
            result = await self._once(work)
        except _InDoubtError as doubt:
            self._pool.drop_idle()
            if not await self._was_committed(doubt.transaction):
                raise ConnectionResetError("the session broke at its commit") from doubt
            result = doubt.result
        self.commits += 1
        return result

    async def _once(self, work: Work[T]) -> T:
        async with self._pool.session() as connection:
            try:
                if not connection.is_in_transaction():
                    await connection.execute("BEGIN")
                transaction = Transaction(connection, self._clock)
                result = await work(transaction)
            except BaseException as trouble:
                await _roll_back(connection, trouble)
                raise
            try:
                outcome = await _end(connection, self._commit(connection), silence_s())
            except BROKEN as trouble:
                if not connection.is_closed() and not is_lost(trouble):
                    raise
                connection.terminate()
                raise _InDoubtError(transaction, result) from trouble
            # COMMIT returns ROLLBACK for a transaction in which a statement failed.
            assert outcome == "COMMIT", outcome
            return result

    def _commit(self, connection: Connection) -> str:
        """The statement that ends the session's transaction. Now and then it is a plain COMMIT: a session that is always in a
        transaction reports no table statistics, and autovacuum would not run.
        """
        if not self._chained:
            return "COMMIT"
        now = time.monotonic()
        if now - self._unchained_at.get(connection, -math.inf) < session_limits.chain_s:
            return "COMMIT AND CHAIN"
        self._unchained_at[connection] = now
        return "COMMIT"

    async def _was_committed(self, transaction: Transaction) -> bool:
        """Look up the outcome of a transaction. STORE_UNAVAILABLE if it cannot be looked up."""
        xid, timeline = transaction.xid, self._timelines.get(transaction.connection)
        until = time.monotonic() + session_limits.in_doubt_s
        status = "in progress"
        while status == "in progress" and time.monotonic() < until:
            try:
                async with self._pool.session() as connection:
                    try:
                        status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", xid)
                        if status == "committed":
                            status = "in progress"  # unknown, until its standbys have it too
                            if self._timelines.get(connection) != timeline:
                                break  # a server that took over uses lost numbers again
                            await _wait_for_standbys(connection, transaction.now, until - time.monotonic())
                            status = "committed"
                    except BROKEN as trouble:  # perhaps in a transaction that has failed
                        await _roll_back(connection, trouble)
                        raise
            except asyncpg.InvalidParameterValueError:
                return False  # a standby took over and does not know the transaction
            except BROKEN:
                self._pool.drop_idle()
            if status == "in progress":
                await asyncio.sleep(0.05)
        if status == "in progress":
            raise Error(
                "STORE_UNAVAILABLE",
                "The connection to the database was lost during a commit: look whether it was stored, or try again"
                " with the same Idempotency-Key",
                retry_after_s=1,
            )
        return status == "committed"

    async def close(self) -> None:
        await self._pool.close()


async def _end(connection: Connection, statement: str, seconds: float) -> str:
    """Execute a COMMIT. If it takes too long, the session is closed, and its outcome is in doubt.

    A COMMIT is never cancelled, as asyncpg does at a timeout and for a task that is cancelled: PostgreSQL then no longer
    waits for the synchronous standbys, and shows and acknowledges what a failover may lose
    (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION-HA).
    """
    loop = asyncio.get_running_loop()
    closing = loop.call_later(seconds, connection.terminate)
    execution = loop.create_task(connection.execute(statement, timeout=2 * seconds))
    try:
        return await asyncio.shield(execution)
    except asyncio.CancelledError:
        await asyncio.wait([execution])
        raise
    finally:
        closing.cancel()


async def _wait_for_standbys(connection: Connection, now: int, seconds: float) -> None:
    """Commit a write, which also waits for the synchronous standbys to have everything before it. After a crash,
    or if its session was ended, PostgreSQL reports a transaction as committed that they may lack.
    """
    if not connection.is_in_transaction():
        await connection.execute("BEGIN")
    await connection.execute(Q["pulse"], now)
    await _end(connection, "COMMIT", max(seconds, 0))


async def _roll_back(connection: Connection, trouble: BaseException) -> None:
    """Roll the session back, or close it if it is broken."""
    if not isinstance(trouble, Exception) or is_lost(trouble, connection):
        connection.terminate()
        return
    try:
        await connection.execute("ROLLBACK")
    except BROKEN:
        connection.terminate()
