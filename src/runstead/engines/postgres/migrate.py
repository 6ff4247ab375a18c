"""Applies numbered .sql files once each, in one transaction per file. Forward only.

An advisory lock serializes replicas that start together: the first migrates, the others find nothing to do. A file waits
only briefly for the locks of tables, because the statements of running replicas queue behind it, and is tried again.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import asyncpg
import structlog

from runstead.core.migration import PendingMigration
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import VERSION_MIN, Connection
from runstead.engines.postgres.sql import CLOCK
from runstead.engines.sql.expand_contract import pending_migration
from runstead.engines.sql.sql_files import migrations, refuse_newer

log = structlog.get_logger(__name__)
T = TypeVar("T")

LOCK: Final = 0x72756E7374656164  # "runstead"
_RECORD: Final = 'CREATE TABLE IF NOT EXISTS schema_migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)'


def _known() -> Mapping[str, str]:
    return migrations(__package__)


def refuse_old_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < VERSION_MIN:
        raise RuntimeError(
            f"PostgreSQL {version.major}.{version.minor} is too old: Runstead needs {VERSION_MIN} or newer"
        )


async def migrate(connection: Connection) -> list[str]:
    """Bring the database up to date; the names of what was applied."""
    known = _known()
    if await _applied(connection, known) == known.keys():
        return []
    applied = []
    for name, sql in known.items():

        async def apply(name: str = name, sql: str = sql) -> bool:
            await connection.execute(_RECORD)
            if name in await _applied(connection, known):
                return False
            await connection.execute(sql)
            # Our own names
            await connection.execute(f"INSERT INTO schema_migrations SELECT $1, {CLOCK}", name)
            return True

        if await with_short_locks(connection, name, apply):
            applied.append(name)
    return applied


async def with_short_locks(connection: Connection, what: str, change: Callable[[], Awaitable[T]]) -> T:
    """Change the schema in a transaction, while no other replica does. If a lock is not free soon, try again later."""
    until = time.monotonic() + session_limits.migration_s_max
    while True:
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await connection.execute(f"SET LOCAL lock_timeout = {session_limits.migration_lock_ms}")
                return await change()
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
            log.info("a change of the schema waits until a table is not in use", change=what)
        await asyncio.sleep(session_limits.migration_pause_s * random.uniform(1, 1.5))  # noqa: S311 - no secret


async def pending(connection: Connection) -> list[PendingMigration]:
    """What is not applied yet."""
    known = _known()
    done = await _applied(connection, known)
    return [pending_migration(name, sql) for name, sql in known.items() if name not in done]


async def _applied(connection: Connection, known: Mapping[str, str]) -> set[str]:
    """Which are done. NewerStoreError where the database knows one that this program does not."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return set()
    done = {row[0] for row in await connection.fetch("SELECT name FROM schema_migrations")}
    refuse_newer(done, known)
    return done
