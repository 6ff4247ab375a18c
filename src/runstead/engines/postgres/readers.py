"""Read-only sessions, by kind of read, so that short reads never wait behind long ones. Each kind has a time limit.

Points are the reads of one record or a bounded page. Scans may take long, such as lists with filters; reports read
much. Tenants share these sessions: each holds a few at a time, and those that wait take turns. Authentication has
sessions of its own, and so has the server itself: for the short reads of its loops, and for the long ones.

With standbys, they serve lists, reports and pages of events, and the primary serves what they cannot.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.tenant import AUTHENTICATION, SERVER, tenant
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import (
    BROKEN,
    Connection,
    NoSessionError,
    connect,
    is_lost,
    trouble_with,
)
from runstead.engines.postgres.standbys import Standbys, StandbySessions, UnservedError
from runstead.ports.store import PoolUse

T = TypeVar("T")
Read = Callable[[Connection], Awaitable[T]]


class Readers:
    def __init__(self, url: str, standbys: Standbys | None = None) -> None:
        points = Bounds(
            slots=session_limits.point_sessions_max,
            slots_per_tenant=session_limits.points_per_project_max,
            waiting=session_limits.sessions_waiting_max,
            waiting_per_tenant=session_limits.sessions_waiting_per_project_max,
            wait_s=session_limits.session_wait_s,
        )
        scans = Bounds(
            slots=session_limits.scan_sessions_max,
            slots_per_tenant=limits.scans_per_project_max,
            waiting=limits.scans_waiting_max,
            waiting_per_tenant=limits.scans_waiting_per_project_max,
            wait_s=limits.scan_wait_s,
        )
        reports = scans._replace(slots=session_limits.report_sessions_max, slots_per_tenant=1)
        self._points = _Sessions(url, session_limits.point_statement_s, points, standbys)
        self._scans = _Sessions(url, session_limits.scan_statement_s, scans, standbys)
        self._reports = _Sessions(url, session_limits.report_statement_s, reports, standbys)
        of_server = points._replace(
            slots=session_limits.server_sessions_max, slots_per_tenant=session_limits.server_sessions_max
        )
        self._authentication = _Sessions(url, session_limits.point_statement_s, of_server)
        self._server_points = _Sessions(url, session_limits.point_statement_s, of_server)
        self._server_scans = _Sessions(url, session_limits.report_statement_s, of_server)

    async def do(self, read: Read[T]) -> T:
        """Run a short read. It sees every commit that was acknowledged before the call. If the session breaks, the read
        is retried once in a new one. If its caller is cancelled, the server ends the statement.
        """
        name = tenant.get()
        sessions = {SERVER: self._server_points, AUTHENTICATION: self._authentication}.get(name, self._points)
        return await sessions.do(name, read)

    async def scan(self, read: Read[T]) -> T:
        """As `do`, for a read that may take long.

        Raises QUERY_TOO_SLOW after `session_limits.scan_statement_s`; PROJECT_BUSY or STORE_BUSY if too many of them wait.
        """
        return await self._long(self._scans, read, session_limits.scan_statement_s)

    async def page(self, read: Read[T]) -> T:
        """As `scan`, for a list, which a standby may serve. The read does not use the time of its server."""
        return await self._long(self._scans, read, session_limits.scan_statement_s, standby=True)

    async def report(self, read: Read[T]) -> T:
        """As `page`, for a read of much data, with `session_limits.report_statement_s`."""
        return await self._long(self._reports, read, session_limits.report_statement_s, standby=True)

    async def history(self, read: Read[T]) -> T:
        """As `do`, for a page of events, which a standby may serve. A standby may have events whose commit is not
        acknowledged yet, and may never be: the caller leaves out those that the primary did not have before.
        """
        name = tenant.get()
        if name in (SERVER, AUTHENTICATION):
            return await self.do(read)
        return await self._points.do(name, read, standby=True)

    async def _long(
        self, sessions: "_Sessions", read: Read[T], seconds: float, *, standby: bool = False
    ) -> T:
        name = tenant.get()
        if name == SERVER:
            return await self._server_scans.do(name, read)
        try:
            return await sessions.do(name, read, standby=standby)
        except Error as error:
            if isinstance(error.__cause__, asyncpg.QueryCanceledError):
                raise _too_slow(seconds) from error
            raise

    def pools(self) -> list[PoolUse]:
        named = {
            "point": self._points,
            "scan": self._scans,
            "report": self._reports,
            "authentication": self._authentication,
            "server_point": self._server_points,
            "server_scan": self._server_scans,
        }
        return [sessions.use(name) for name, sessions in named.items()]

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows, by a short read. No rows if an argument contains NUL, which no stored text contains."""
        return await self.do(lambda c: rows(c, sql, *arguments))

    async def row(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, by a short read, or None."""
        found = await self.rows(sql, *arguments)
        return found[0] if found else None

    async def close(self) -> None:
        tenants = self._points, self._scans, self._reports
        for sessions in (*tenants, self._authentication, self._server_points, self._server_scans):
            await sessions.close()


async def rows(connection: Connection, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """The rows. No rows if an argument contains NUL, which no stored text contains."""
    try:
        found: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
    except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
        return []
    return found


async def retried(pool: Pool, read: Read[T]) -> T:
    """Run a read in a session of the pool, and again in a new one if the session breaks. Raises what asyncpg raises."""
    try:
        async with pool.session() as connection:
            return await read(connection)
    except BROKEN as error:
        if not is_lost(error) or isinstance(error, NoSessionError):
            raise
    pool.drop_idle()
    async with pool.session() as connection:
        return await read(connection)


class _Sessions:
    """Sessions that tenants share, with a limit for each statement in s."""

    def __init__(
        self, url: str, statement_s: float, bounds: Bounds, standbys: Standbys | None = None
    ) -> None:
        timeout = str(int(statement_s * 1_000))
        self._pool = Pool(
            lambda: connect(url, default_transaction_read_only="on", statement_timeout=timeout), bounds.slots
        )
        self._at_standbys = None if standbys is None else StandbySessions(standbys, bounds.slots, statement_s)
        self._slots = FairSlots(bounds, "reads")

    def use(self, name: str) -> PoolUse:
        return PoolUse(name, self._slots.size, self._slots.used, self._slots.waiting)

    async def do(self, name: str, read: Read[T], *, standby: bool = False) -> T:
        async with self._slots.hold(name):
            try:
                if standby and self._at_standbys is not None:
                    with suppress(UnservedError):
                        return await self._at_standbys.do(read)
                return await retried(self._pool, read)
            except BROKEN as error:
                raise trouble_with(error, "read") from error

    async def close(self) -> None:
        await self._pool.close()
        if self._at_standbys is not None:
            await self._at_standbys.close()


def _too_slow(seconds: float) -> Error:
    return Error(
        "QUERY_TOO_SLOW",
        f"The query took longer than {seconds:g} seconds: narrow it by time (created_after), status, kind or target, or"
        " ask for fewer rows",
    )
