"""The counters of batches in SQLite. One writer moves them, so they are in the batch's own row."""

import sqlite3

from runstead.core.batches.batch import Batch, Tally, counted
from runstead.engines.sql.batches import load_batch
from runstead.engines.sql.steps import rewrite
from runstead.engines.sqlite.related import DRIVER


def load(connection: sqlite3.Connection, batch_id: str, project_id: str) -> Batch | None:
    return DRIVER.run(connection, load_batch(batch_id, project_id))


def count(connection: sqlite3.Connection, tally: Tally) -> None:
    """Move the counters of the batches that exist."""
    for (project_id, batch_id, _), moved in tally.moved.items():
        old = load(connection, batch_id, project_id)
        if old is not None:
            DRIVER.run(connection, rewrite("batches", old, counted(old, moved)))
