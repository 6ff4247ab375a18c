"""Applies numbered .sql files once each, in one transaction per file. Forward only.

An advisory lock serializes replicas that start together: the first migrates, the others find nothing to do.
"""

from typing import Final

from runstead.engines.postgres.connection import VERSION_MIN, Connection
from runstead.engines.postgres.sql import CLOCK
from runstead.engines.sql.sql_files import migrations, refuse_newer

LOCK: Final = 0x72756E7374656164  # "runstead"
_RECORD: Final = 'CREATE TABLE IF NOT EXISTS schema_migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)'


def _known() -> dict[str, str]:
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
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await connection.execute(_RECORD)
            if name not in await _applied(connection, known):
                await connection.execute(sql)
                # Our own names
                await connection.execute(f"INSERT INTO schema_migrations SELECT $1, {CLOCK}", name)
                applied.append(name)
    return applied


async def pending(connection: Connection) -> list[str]:
    """What is not applied yet."""
    known = _known()
    done = await _applied(connection, known)
    return [name for name in known if name not in done]


async def _applied(connection: Connection, known: dict[str, str]) -> set[str]:
    """Which are done. NewerStoreError where the database knows one that this program does not."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return set()
    done = {row[0] for row in await connection.fetch("SELECT name FROM schema_migrations")}
    refuse_newer(done, known)
    return done
