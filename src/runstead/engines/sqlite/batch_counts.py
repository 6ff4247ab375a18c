"""The rows of batches in SQLite. One writer moves the counters, so they stand in the batch's own row."""

import sqlite3
from typing import Any, Final

from runstead.core.batches.batch import BATCH_FIELDS, Batch, Tally, counted

COLUMNS: Final = ", ".join(BATCH_FIELDS)
_BY_ID: Final = f"SELECT {COLUMNS} FROM batches WHERE id = ? AND project_id = ?"  # noqa: S608 - our own names


def load(connection: sqlite3.Connection, batch_id: str, project_id: str) -> Batch | None:
    row = connection.execute(_BY_ID, (batch_id, project_id)).fetchone()
    return None if row is None else Batch(*row)


def rewrite(connection: sqlite3.Connection, old: Batch, new: Batch) -> None:
    """Write what differs."""
    changed = [name for name in BATCH_FIELDS if getattr(old, name) != getattr(new, name)]
    if changed:
        columns = ", ".join(f"{name} = ?" for name in changed)
        values: list[Any] = [getattr(new, name) for name in changed]
        connection.execute(f"UPDATE batches SET {columns} WHERE seq = ?", (*values, old.seq))  # noqa: S608


def count(connection: sqlite3.Connection, tally: Tally) -> None:
    """Move the counters of the batches that are there."""
    for (project_id, batch_id, _), moved in tally.moved.items():
        old = load(connection, batch_id, project_id)
        if old is not None:
            rewrite(connection, old, counted(old, moved))
