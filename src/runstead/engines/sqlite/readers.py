"""Readers: threads with read-only connections, in pools, so that short reads never wait behind long ones.

Points are the reads of one record or a bounded page, such as authentication. Scans may take long, such as lists
with filters: tenants share their threads. The background pool is for the server itself, whose reads have no deadline.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from typing import TypeVar

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.tenant import SERVER, tenant
from runstead.engines.sqlite.connection import trouble_with
from runstead.ports.store import PoolUse

T = TypeVar("T")


class Readers:
    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._points = _ReaderPool(connect, "point", limits.point_readers_max, limits.read_s_max, _busy)
        self._scans = _ReaderPool(connect, "scan", limits.scan_readers_max, limits.read_s_max, _too_slow)
        self._background = _ReaderPool(connect, "background", limits.background_readers_max, inf, _busy)
        self._pools = self._points, self._scans, self._background
        bounds = Bounds(
            slots=limits.scan_readers_max,
            slots_per_tenant=limits.scans_per_project_max,
            waiting=limits.scans_waiting_max,
            waiting_per_tenant=limits.scans_waiting_per_project_max,
            wait_s=limits.scan_wait_s,
        )
        self._slots = FairSlots(bounds, "queries")

    @property
    def waiting(self) -> int:
        """Unfinished reads."""
        return self._slots.waiting + sum(pool.waiting for pool in self._pools)

    def pools(self) -> list[PoolUse]:
        return [pool.use(self._slots.waiting if pool is self._scans else 0) for pool in self._pools]

    async def do(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run a short read in a thread. It sees every commit that was acknowledged before the call.

        It stops soon after its caller is cancelled. STORE_BUSY if it takes longer than `limits.read_s_max`.
        """
        return await self._points.do(read)

    async def scan(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """As `do`, for a read that may take long.

        Raises QUERY_TOO_SLOW after `limits.read_s_max`; PROJECT_BUSY or STORE_BUSY if too many of them wait.
        """
        name = tenant.get()
        if name == SERVER:
            return await self._background.do(read)
        async with self._slots.hold(name):
            return await self._scans.do(read)

    async def close(self) -> None:
        for pool in self._pools:
            await pool.close()


class _Ticket:
    """A read that is under way: it ends at `until` (monotonic, in s), or soon after `stopped` is set."""

    __slots__ = ("stopped", "until")

    def __init__(self) -> None:
        self.stopped = False
        self.until = inf


class _ReaderPool:
    """Threads, each with its own connection. `seconds`: how long a read may take; `late` is the error after that."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        name: str,
        threads: int,
        seconds: float,
        late: Callable[[], Error],
    ) -> None:
        self._name = name
        self._threads = threads
        self._connect = connect
        self._seconds = seconds
        self._late = late
        self._closed = False
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"sqlite-{name}")
        self.waiting = 0

    def use(self, queued: int) -> PoolUse:
        """Return the use of the threads. `queued`: reads that wait outside of the pool."""
        used = min(self.waiting, self._threads)
        return PoolUse(self._name, self._threads, used, self.waiting - used + queued)

    async def do(self, read: Callable[[sqlite3.Connection], T]) -> T:
        ticket = _Ticket()
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read, ticket)
        finally:
            ticket.stopped = True  # if the caller was cancelled, the thread still reads
            self.waiting -= 1

    def _read(self, read: Callable[[sqlite3.Connection], T], ticket: _Ticket) -> T:
        ticket.until = time.monotonic() + self._seconds
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
                self._open.append(connection)
                connection.set_progress_handler(self._must_stop, limits.progress_steps)
            self._local.ticket = ticket
            return read(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise self._late() from error
            raise trouble_with(error, "read") from error

    def _must_stop(self) -> bool:
        """Whether the statement of this thread is interrupted. SQLite calls it after a number of steps."""
        ticket: _Ticket = self._local.ticket
        return ticket.stopped or self._closed or time.monotonic() > ticket.until

    async def close(self) -> None:
        self._closed = self._seconds != inf  # reads of callers end; a check of the store is finished
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        for connection in self._open:
            with suppress(sqlite3.Error):
                connection.close()


def _too_slow() -> Error:
    return Error(
        "QUERY_TOO_SLOW",
        f"The query took longer than {limits.read_s_max:g} seconds: narrow it by time (created_after), status, kind or"
        " target, or ask for fewer rows",
    )


def _busy() -> Error:
    return Error(
        "STORE_BUSY", f"The store did not answer within {limits.read_s_max:g} seconds", retry_after_s=1
    )
