"""Sessions through a connection pooler such as PgBouncer, which must be in session mode.

PgBouncer refuses the settings of a session at its start, or ignores them, so they are made afterwards. In transaction
mode statements of a session reach several servers: settings, LISTEN and advisory locks of sessions do not work there.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from runstead.engines.postgres import session_limits
from runstead.engines.postgres.hosts import Host, NoStandbyError, StandbyError, connect_to_primary
from runstead.engines.postgres.tls import tls_of

_PID: Final = "SELECT pg_backend_pid()"
_SERVER: Final = "SELECT pg_backend_pid(), pg_is_in_recovery()"
_PROBES: Final = 5
_REFUSAL: Final = (
    "a connection pooler in transaction or statement mode is before it, and a replica needs sessions of its own: set"
    " pool_mode=session there, or name PostgreSQL itself in the URL"
)
_ELSEWHERE: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""The statement was prepared on another server, or by another session."""


async def open_session(
    url: str, settings: Mapping[str, str], standby: Host | None = None, **options: Any
) -> asyncpg.Connection:
    """Open a session with its settings, at the primary, or at this host of the URL, which must be a standby.

    `options` are those of asyncpg. NoStandbyError if that host is the primary.
    """
    options |= {"ssl": tls_of(url), "target_session_attrs": "any"}

    async def open_at(**host: Any) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(url, server_settings=dict(settings), **host, **options)
        except asyncpg.ProtocolViolationError as error:
            if "startup parameter" not in str(error):
                raise
            connection = await asyncpg.connect(url, **host, **options)
        try:
            if await _is_pooled(connection, at_standby=standby is not None) and settings:
                await connection.execute(
                    ";".join(f"SET {name} = '{value}'" for name, value in settings.items())
                )
        except BaseException:
            connection.terminate()
            raise
        return connection

    if standby is None:
        return await connect_to_primary(url, open_at)
    host, port = standby
    async with asyncio.timeout(session_limits.standby_reply_s):
        return await open_at(**({"host": host, "port": port} if host else {}))


async def refuse_transaction_mode(connection: asyncpg.Connection, url: str) -> None:
    """ValueError if another session gets the server of this one, which is idle."""
    if not await _is_pooled(connection):
        return
    other = None
    try:
        other = await open_session(url, {})
        for _ in range(_PROBES):
            if await connection.fetchval(_PID) == await other.fetchval(_PID):
                raise ValueError(_REFUSAL)
    except _ELSEWHERE as error:
        raise ValueError(_REFUSAL) from error
    finally:
        if other is not None:
            other.terminate()


async def _is_pooled(connection: asyncpg.Connection, *, at_standby: bool = False) -> bool:
    """Whether the process that the session was promised is another one than that which serves it. StandbyError or
    NoStandbyError if the server has the other role. The parameter `in_hot_standby`, which asyncpg reads, is not reliable here: PgBouncer sends the value
    of the time when it first connected.
    """
    pid, is_standby = await connection.fetchrow(_SERVER)
    if is_standby != at_standby:
        raise StandbyError("it is a standby") if is_standby else NoStandbyError("it is the primary")
    return bool(pid != connection.get_server_pid())
