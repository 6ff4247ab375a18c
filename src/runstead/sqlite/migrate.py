"""Numbered .sql files, each applied once in a transaction of its own, its name recorded. Forward only."""

import sqlite3
from importlib.resources import files

from runstead.clock import now_ms


class NewerStoreError(RuntimeError):
    """The file was written by a newer Runstead."""


def _known() -> dict[str, str]:
    folder = files(__package__) / "migrations"
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    return {entry.name.removesuffix(".sql"): entry.read_text() for entry in found}


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Bring the file up to date; the names of what was applied. Several processes may do so at once."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)"
    )
    applied = []
    known = _known()
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


def pending(connection: sqlite3.Connection) -> list[str]:
    """What is not applied yet."""
    known = _known()
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'"
    done = set() if connection.execute(table).fetchone() is None else _applied(connection, known)
    return [name for name in known if name not in done]


def _applied(connection: sqlite3.Connection, known: dict[str, str]) -> set[str]:
    """Which are done. NewerStoreError where the file knows one that this program does not."""
    done = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
    if newer := sorted(done - known.keys()):
        raise NewerStoreError(
            f"The database was written by a newer Runstead (it knows {newer[0]}, this program does not): "
            "upgrade the program"
        )
    return done


def _statements(sql: str) -> list[str]:
    """`executescript` would commit in between; this keeps one transaction."""
    statements, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    assert not pending.strip(), pending
    return statements
