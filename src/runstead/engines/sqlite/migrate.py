"""Applies numbered .sql files once each, in one transaction per file. Forward only."""

import sqlite3
from collections import Counter

from runstead.core.clock import now_ms
from runstead.core.migration import PendingMigration
from runstead.core.usage.rollup import Durations, packed, unpacked
from runstead.engines.sql.expand_contract import pending_migration
from runstead.engines.sql.sql_files import migrations, refuse_newer


class _MergedDurations:
    """The SQL aggregate `merged_durations`: merges `packed` durations of several sums."""

    def __init__(self) -> None:
        self._durations: Durations = Counter()

    def step(self, durations: bytes) -> None:
        self._durations.update(unpacked(durations))

    def finalize(self) -> bytes:
        return packed(self._durations)


def _known() -> dict[str, str]:
    return migrations(__package__)


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Apply the missing migrations and return their names. Several processes may do so at once."""
    known = _known()
    if _applied(connection, known) == known.keys():
        return []
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
    )
    connection.create_aggregate("merged_durations", 1, _MergedDurations)  # type: ignore[arg-type]
    applied = []
    for name, sql in known.items():
        connection.execute("BEGIN IMMEDIATE")
        try:
            if name not in _applied(connection, known):
                for statement in _statements(sql):
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_migrations VALUES (?, ?)", (name, now_ms()))
                applied.append(name)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return applied


def pending(connection: sqlite3.Connection) -> list[PendingMigration]:
    """The migrations that are not applied yet."""
    known = _known()
    done = _applied(connection, known)
    return [pending_migration(name, sql) for name, sql in known.items() if name not in done]


def _applied(connection: sqlite3.Connection, known: dict[str, str]) -> set[str]:
    """The names of applied migrations. Raises NewerStoreError if this program does not know one."""
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'"
    if connection.execute(table).fetchone() is None:
        return set()
    done = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
    refuse_newer(done, known)
    return done


def _statements(sql: str) -> list[str]:
    """Split into statements, because `executescript` would commit the transaction."""
    statements, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    assert not pending.strip(), pending
    return statements
