"""Sessions through a connection pooler such as PgBouncer, which must be in session mode.

PgBouncer refuses the settings of a session at its start, or ignores them, so they are made afterwards. In transaction
mode statements of a session reach several servers: settings, LISTEN and advisory locks of sessions do not work there.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import asyncpg

from runstead.engines.postgres.hosts import connect_to_primary
from runstead.engines.postgres.tls import tls_of

_PID: Final = "SELECT pg_backend_pid()"
_PROBES: Final = 5
_REFUSAL: Final = (
    "a connection pooler in transaction or statement mode is before it, and a replica needs sessions of its own: set"
    " pool_mode=session there, or name PostgreSQL itself in the URL"
)
_ELSEWHERE: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""The statement was prepared on another server, or by another session."""


async def open_session(
    url: str,
    settings: Mapping[str, str],
    opener: Callable[..., Awaitable[asyncpg.Connection]] = connect_to_primary,
    **options: Any,
) -> asyncpg.Connection:
    """Open a session with its settings. `options` are those of asyncpg."""
    options |= {"ssl": tls_of(url)}
    try:
        connection = await opener(url, server_settings=dict(settings), **options)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
        connection = await opener(url, **options)
    try:
        if await _is_pooled(connection):
            await connection.execute(";".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    except BaseException:
        connection.terminate()
        raise
    return connection


async def refuse_transaction_mode(connection: asyncpg.Connection, url: str) -> None:
    """ValueError if another session gets the server of this one, which is idle."""
    if not await _is_pooled(connection):
        return
    other = await connect_to_primary(url, ssl=tls_of(url))
    try:
        for _ in range(_PROBES):
            if await connection.fetchval(_PID) == await other.fetchval(_PID):
                raise ValueError(_REFUSAL)
    except _ELSEWHERE as error:
        raise ValueError(_REFUSAL) from error
    finally:
        other.terminate()


async def _is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether the process that the session was promised is another one than that which serves it."""
    return bool(await connection.fetchval(_PID) != connection.get_server_pid())
