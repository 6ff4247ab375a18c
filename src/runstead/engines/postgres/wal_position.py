"""The position in the WAL of the primary, up to which a standby must have replayed before it may serve a read.

A read asks for the position after it was requested, so the position covers every commit that any replica has
acknowledged before. Reads that wait at the same time share one statement.
"""

import asyncio
import math
import secrets
import time
from typing import NamedTuple

from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import Connection, connect
from runstead.engines.postgres.sql import Q


class Position(NamedTuple):
    """`lsn` as PostgreSQL prints it. `marker`: the id of a row that only a standby of this primary has."""

    lsn: str
    marker: str


class WalPosition:
    """Looks up the position on a session of its own at the primary of `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._marker = ""
        self._marked_at = 0.0
        self._next: asyncio.Future[Position] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def read(self) -> Position:
        """Look the position up after this call. Raises what asyncpg raises if there is no primary."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_up())
        return await asyncio.shield(self._next)

    async def _look_up(self) -> None:
        """Serve those who wait, until none waits. Who comes during a look-up is served by the next one."""
        try:
            while (waiting := self._next) is not None:
                self._next = None
                try:
                    position = await self._position()
                except Exception as error:  # noqa: BLE001 - each caller raises it
                    self._drop()
                    waiting.set_exception(error)
                    waiting.exception()  # the callers may be gone
                except asyncio.CancelledError:
                    waiting.cancel()
                    raise
                else:
                    waiting.set_result(position)
        finally:
            self._looking = None

    async def _position(self) -> Position:
        async with asyncio.timeout(session_limits.standby_reply_s):
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = self._connection = await connect(self._url)
                self._marker = secrets.token_hex(8)
                self._marked_at = -math.inf
            if time.monotonic() - self._marked_at > session_limits.standby_marker_s / 2:
                await connection.execute(Q["forget_standby_markers"], session_limits.standby_marker_s * 1_000)
                await connection.execute(Q["standby_marker"], self._marker)
                self._marked_at = time.monotonic()
            return Position(await connection.fetchval(Q["wal_position"]), self._marker)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._drop()
