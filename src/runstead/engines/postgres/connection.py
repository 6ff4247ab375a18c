"""Connecting: what every session is told, in one place; and what a failure of PostgreSQL is to a caller."""

import os
import socket
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from runstead.core import limits
from runstead.core.errors import Error

VERSION_MIN: Final = 15

Connection: TypeAlias = asyncpg.Connection

_SESSION: Final = {
    "application_name": "runstead",
    "statement_timeout": str(limits.statement_s * 1_000),
    "lock_timeout": str(limits.lock_s * 1_000),
    # A replica that stands still in the middle of a transaction holds its rows no longer than this.
    "idle_in_transaction_session_timeout": str(limits.idle_transaction_s * 1_000),
    "default_transaction_isolation": "read committed",
    "jit": "off",
    # Statements are prepared once, often while a table is still empty: a plan for an empty table must not be kept. All
    # of them find few rows through an index, and are written so that there is one way to do it (docs/decisions/0022).
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    # The plan is the same whatever the values are, so it is made once: a claim costs as much to plan as to do.
    "plan_cache_mode": "force_generic_plan",
}


async def connect(url: str, **settings: str) -> Connection:
    """A session that takes our statements. `settings` override what it is told at its start."""
    connection: Connection = await asyncpg.connect(
        url,
        timeout=limits.connect_s,
        # The server ends a statement first; this is for a server that no longer answers at all.
        command_timeout=limits.statement_s + limits.connect_s,
        statement_cache_size=limits.statements_kept_max,
        max_cached_statement_lifetime=0,
        server_settings=_SESSION | settings,
    )
    return connection


async def connect_alone(url: str) -> Connection:
    """A session for work on the schema: it waits for locks and takes the time it needs."""
    connection: Connection = await asyncpg.connect(
        url, timeout=limits.connect_s, server_settings={"application_name": "runstead", "jit": "off"}
    )
    return connection


def address(url: str) -> str:
    """Where the database is, without user and password, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["the local server"])[0]
    return f"{host}{parts.path}"


def plainly(trouble: Exception) -> str:
    """Why no session can be made, for an operator."""
    if isinstance(trouble, TimeoutError):
        return f"no answer within {limits.connect_s} s"
    if isinstance(trouble, socket.gaierror):
        return "no such host"
    if isinstance(trouble, OSError) and trouble.errno is not None:
        return os.strerror(trouble.errno).lower()
    return str(trouble)


BROKEN: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a call of asyncpg raises where it is not our own mistake (and sometimes where it is)."""

_LOST: Final = (
    asyncpg.InternalClientError,  # the server's farewell reached an idle session, and asyncpg did not expect any
    OSError,  # TimeoutError too: who does not answer in time may have half an answer on its way
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,  # no longer the primary: another session will find the one that is
)
_RACED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    # Somebody else stored the same run or key a moment ago: a second look will find it.
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
    """No session can be made: there is no point in trying again at once."""


def is_lost(trouble: BaseException, connection: Connection | None = None) -> bool:
    """Whether the session is gone, or of no more use."""
    if isinstance(trouble, _LOST):
        return True
    gone = connection is not None and connection.is_closed()
    return gone and isinstance(trouble, (asyncpg.InterfaceError, asyncpg.PostgresError))


def is_race(trouble: BaseException) -> bool:
    """Whether the same command may well succeed if it is tried again."""
    return isinstance(trouble, _RACED)


def trouble_with(trouble: Exception, what: str, connection: Connection | None = None) -> Exception:
    """What a failure of PostgreSQL is to a caller: trouble with the server is `STORE_UNAVAILABLE`, and a broken
    constraint or statement is our own mistake and stays what it is. PostgreSQL's own sentences may name data.
    """
    reason = _reason(trouble, connection)
    if reason is not None:
        return Error("STORE_UNAVAILABLE", f"The store could not {what} ({reason})", retry_after_s=1)
    if isinstance(trouble, (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)):
        return Error("INVALID_REQUEST", "A text holds the character NUL, which PostgreSQL cannot keep")
    return trouble


def _reason(trouble: Exception, connection: Connection | None) -> str | None:
    if is_lost(trouble, connection):
        return "the connection to the database was lost, or cannot be made"
    if isinstance(trouble, asyncpg.LockNotAvailableError):
        return f"a row stayed locked for more than {limits.lock_s} s"
    if isinstance(trouble, asyncpg.QueryCanceledError):
        return f"a statement took more than {limits.statement_s} s, or was cancelled"
    if isinstance(trouble, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)):
        return "other transactions were in the way again and again"
    if isinstance(trouble, _CANNOT):
        return f"the database refuses, with SQLSTATE {trouble.sqlstate}"
    return None
