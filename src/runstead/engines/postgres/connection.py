"""Opens sessions with all their settings, and maps errors."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from runstead.core import limits
from runstead.core.errors import Error
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.hosts import Host, StandbyError
from runstead.engines.postgres.pooler import open_session
from runstead.engines.postgres.tls import tls_trouble

VERSION_MIN: Final = 15

Connection: TypeAlias = asyncpg.Connection

_SESSION: Final = {
    "application_name": "runstead",
    "statement_timeout": str(session_limits.statement_s * 1_000),
    "lock_timeout": str(session_limits.lock_s * 1_000),
    # Bounds the time for which a stalled replica holds its locks.
    "idle_in_transaction_session_timeout": str(session_limits.idle_transaction_s * 1_000),
    "default_transaction_isolation": "read committed",
    "jit": "off",
    # Statements are prepared once, often while a table is empty, and a plan for an empty table must not be kept. Every
    # statement reads few rows and is written to have one possible plan, by an index (docs/decisions/0022).
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    # The plan does not depend on the values, so it is made once: a claim takes as long to plan as to execute.
    "plan_cache_mode": "force_generic_plan",
}


async def connect(url: str, **settings: str) -> Connection:
    """Open a session for the statements of the store. `settings` override the session settings."""
    return await connect_at(None, url, **settings)


async def connect_at(standby: Host | None, url: str, **settings: str) -> Connection:
    """As `connect`, at this host of the URL, which must be a standby. None: at the primary."""
    session = _SESSION | settings
    return await open_session(
        url,
        session,
        standby,
        command_timeout=silence_s(int(session["statement_timeout"]) / 1_000),
        statement_cache_size=session_limits.statements_kept_max,
        max_cached_statement_lifetime=0,
    )


def silence_s(statement_s: float = session_limits.statement_s) -> float:
    """Return how long to wait for a server that does not respond. Its own limit for the statement is shorter."""
    return statement_s + limits.connect_s


async def connect_alone(url: str) -> Connection:
    """Open a session without timeouts, for migrations and other long work."""
    return await open_session(url, {"application_name": "runstead", "jit": "off"})


@asynccontextmanager
async def session_alone(url: str, what: str) -> AsyncIterator[Connection]:
    """Open a session of `connect_alone` for some work, and close it. Raises STORE_UNAVAILABLE: see `trouble_with`."""
    try:
        connection = await connect_alone(url)
        try:
            yield connection
        finally:
            await connection.close()
    except BROKEN as error:
        raise trouble_with(error, what) from error


def address(url: str) -> str:
    """Host and database of the URL for messages, without credentials."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["the local server"])[0]
    return f"{host}{parts.path}"


def plainly(error: Exception) -> str:
    """The reason why no session can be opened, for an operator."""
    if (reason := tls_trouble(error)) is not None:
        return reason
    if isinstance(error, StandbyError):
        return (
            "it is a standby, and every session needs the primary: name all servers of the cluster in the URL"
        )
    if isinstance(error, TimeoutError):
        return f"no answer within {limits.connect_s} s"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error)


BROKEN: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The errors that asyncpg raises for server problems, and for some bugs of the caller."""

_LOST: Final = (
    asyncpg.InternalClientError,  # the server closed an idle session, which asyncpg did not expect
    OSError,  # and TimeoutError: a part of the response may still arrive
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,  # not the primary any more: a new session finds the new one
)
_RACED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    # Another transaction just stored the same run or key: a retry finds it.
    asyncpg.UniqueViolationError,
)
_CANNOT: Final = (
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
)


class NoSessionError(ConnectionError):
    """No session can be opened, so an immediate retry is useless."""


def is_lost(error: BaseException, connection: Connection | None = None) -> bool:
    """Whether the session is closed or unusable."""
    if isinstance(error, _LOST):
        return True
    closed = connection is not None and connection.is_closed()
    return closed and isinstance(error, (asyncpg.InterfaceError, asyncpg.PostgresError))


def is_race(error: BaseException) -> bool:
    """Whether a retry of the same command may succeed."""
    return isinstance(error, _RACED)


def trouble_with(error: Exception, what: str, connection: Connection | None = None) -> Exception:
    """Map a problem of the server to `STORE_UNAVAILABLE`. A broken constraint or statement is a bug and is returned
    unchanged. PostgreSQL's messages are left out because they may contain data.
    """
    reason = _reason(error, connection)
    if reason is not None:
        return Error("STORE_UNAVAILABLE", f"The store could not {what} ({reason})", retry_after_s=1)
    if isinstance(error, (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)):
        return Error("INVALID_REQUEST", "A text holds the character NUL, which PostgreSQL cannot keep")
    return error


def _reason(error: Exception, connection: Connection | None) -> str | None:
    if is_lost(error, connection):
        return "the connection to the database was lost, or cannot be made"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return f"a row stayed locked for more than {session_limits.lock_s} s"
    if isinstance(error, asyncpg.QueryCanceledError):
        return "a statement took more than its time limit, or was cancelled"
    if isinstance(error, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)):
        return "it conflicted with other transactions repeatedly"
    if isinstance(error, _CANNOT):
        return f"the database refuses, with SQLSTATE {error.sqlstate}"
    return None
