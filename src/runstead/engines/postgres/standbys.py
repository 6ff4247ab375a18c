"""Reads at standbys that miss nothing: each sees every commit that was acknowledged before it was requested.

A standby serves a read only after it has replayed the WAL up to the primary's position (`wal_position.py`). If it is not
there soon, fails, or cancels the read in favour of its replay, the primary serves the read (docs/decisions/0040). A
standby that failed is not used until a check in the background succeeds, so few reads wait for one.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import BROKEN, Connection, connect_at, is_lost, is_race
from runstead.engines.postgres.hosts import NoStandbyError, hosts_of
from runstead.engines.postgres.sql import Q
from runstead.engines.postgres.wal_position import Position, WalPosition
from runstead.ports.metrics import standby_reads

log = structlog.get_logger(__name__)

T = TypeVar("T")

IN_USE: Final = "in use"
BEHIND: Final = "behind"
AWAY: Final = "unreachable"
PRIMARY: Final = "not a standby"
FOREIGN: Final = "of another history"
_PAUSE_S: Final = 0.002  # between two looks whether a position has been replayed
_LOG_S: Final = 60.0  # between two lines of a standby that is behind only now and then


class UnservedError(Exception):
    """No standby has served the read."""


class _NotReadyError(Exception):
    """The standby cannot serve reads now. `state`: why."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class Standby:
    """One host of the URL. `lag_bytes`: of WAL, at the last check; None if it is not known. `logs`: changes of its state
    are logged.
    """

    def __init__(self, url: str, host: str, port: int, *, logs: bool) -> None:
        self.address = f"{host or 'the local server'}:{port}"
        self.state = AWAY
        self.lag_bytes: int | None = None
        self._host = host, port
        self._url = url
        self._logs = logs
        self._logged_at = -math.inf
        self._checks = self.pool(1, session_limits.standby_reply_s)

    def pool(self, size: int, statement_s: float) -> Pool:
        """Sessions at this host, with a limit for each statement in s."""
        timeout = str(int(statement_s * 1_000))
        settings = {"default_transaction_read_only": "on", "statement_timeout": timeout}
        return Pool(lambda: connect_at(self._host, self._url, **settings), size)

    async def check(self, position: Position) -> None:
        """Find out whether the standby can serve reads."""
        try:
            async with self._checks.session() as connection:
                await self.catch_up(connection, position)
        except _NotReadyError as error:
            self.become(error.state)
        except asyncpg.UndefinedTableError:
            self.become(FOREIGN)
        except BROKEN as error:
            self._checks.drop_idle()
            self.become(PRIMARY if isinstance(error.__cause__, NoStandbyError) else AWAY)
        else:
            self.become(IN_USE)

    async def catch_up(self, connection: Connection, position: Position) -> None:
        """Wait until the position is replayed, at most `session_limits.standby_wait_s`."""
        until = time.monotonic() + session_limits.standby_wait_s
        while True:
            is_standby, missing, same_history = await connection.fetchrow(
                Q["standby_state"], *position, timeout=session_limits.standby_reply_s
            )
            if not is_standby:
                connection.terminate()
                raise _NotReadyError(PRIMARY)
            self.lag_bytes = max(missing, 0)
            if missing <= 0 and same_history:
                return
            if time.monotonic() > until:
                raise _NotReadyError(BEHIND if missing > 0 else FOREIGN)
            await asyncio.sleep(_PAUSE_S)

    def become(self, state: str) -> None:
        if state in (AWAY, PRIMARY):
            self.lag_bytes = None
        if state == self.state:
            return
        briefly = {state, self.state} == {BEHIND, IN_USE} and time.monotonic() - self._logged_at < _LOG_S
        self.state = state
        if briefly or not self._logs:
            return
        self._logged_at = time.monotonic()
        if state == IN_USE:
            log.info("reads of lists, reports and streams use the standby", standby=self.address)
        else:
            log.warning("the primary serves the reads of a standby", standby=self.address, reason=state)

    async def close(self) -> None:
        await self._checks.close()


class Standbys:
    """The standbys of `read_url`, checked in the background against the primary of `url`."""

    def __init__(self, url: str, read_url: str, *, logs: bool = True) -> None:
        self.position = WalPosition(url)
        self.all = [Standby(read_url, *host, logs=logs) for host in hosts_of(read_url)]
        self._turns = count()
        self._checking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._check()
        self._checking = asyncio.ensure_future(self._check_regularly())

    async def _check_regularly(self) -> None:
        while True:
            await asyncio.sleep(session_limits.standby_check_s)
            try:
                await self._check()
            except Exception:
                log.exception("the check of the standbys failed and will be repeated")

    async def _check(self) -> None:
        try:
            position = await self.position.read()
        except BROKEN as error:
            log.warning("the primary did not report its WAL position", error=str(error))
            return  # reads need the position too, and find the same
        await asyncio.gather(*(standby.check(position) for standby in self.all))

    def next(self) -> Standby | None:
        """A standby that can serve reads, each in turn; None if there is none."""
        usable = [standby for standby in self.all if standby.state == IN_USE]
        return usable[next(self._turns) % len(usable)] if usable else None

    def facts(self) -> list[dict[str, Any]]:
        """The state and lag of each standby, in the order of the URL. No addresses: `/readyz` is open to all."""
        return [{"state": standby.state, "lag_bytes": standby.lag_bytes} for standby in self.all]

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        await self.position.close()
        for standby in self.all:
            await standby.close()


class StandbySessions:
    """Sessions for one kind of read at each standby, with a limit for each statement in s."""

    def __init__(self, standbys: Standbys, size: int, statement_s: float) -> None:
        self._standbys = standbys
        self._statement_s = statement_s
        self._pools = {standby: standby.pool(size, statement_s) for standby in standbys.all}

    async def do(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a read at a standby. UnservedError if the primary has to serve it.

        Raises what the read raises, and QueryCanceledError if it took too long.
        """
        standby = self._standbys.next()
        if standby is None:
            raise _unserved("away")
        try:
            position = await self._standbys.position.read()
        except BROKEN as error:
            raise _unserved("away") from error
        pool, began = self._pools[standby], time.monotonic()
        try:
            async with pool.session() as connection:
                await standby.catch_up(connection, position)
                began = time.monotonic()
                found = await read(connection)
        except _NotReadyError as error:
            standby.become(error.state)
            raise _unserved("behind") from error
        except asyncpg.QueryCanceledError as error:
            if time.monotonic() - began >= self._statement_s:
                raise
            raise _unserved("conflict") from error  # older servers cancel for the replay with this error
        except BROKEN as error:
            if is_race(error):  # "canceling statement due to conflict with recovery"
                raise _unserved("conflict") from error
            if is_lost(error):
                pool.drop_idle()
                standby.become(AWAY)
            raise _unserved("away") from error
        standby_reads.labels("served").inc()
        return found

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()


def _unserved(reason: str) -> UnservedError:
    standby_reads.labels(reason).inc()
    return UnservedError(reason)
