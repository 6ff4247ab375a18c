"""Deletes old families from a SQLite file. Later writes reuse their space."""

import sqlite3
from collections.abc import Sequence

from runstead.core.usage.rollup import end_of, gone
from runstead.engines.sql.retention import SqlRetention
from runstead.engines.sql.steps import Database
from runstead.engines.sqlite.rollups import note, rolled_up
from runstead.engines.sqlite.rows import delete_run, to_run
from runstead.engines.sqlite.sql import Q


class SqliteRetention(SqlRetention):
    def __init__(self, database: Database) -> None:
        super().__init__(database, _delete_runs)

    async def sweep(self, age_ms: int) -> int:  # noqa: ARG002 - retire frees the space at once
        return 0


def _delete_runs(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    for seq in seqs:
        run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
        note(connection, gone(end_of(run), rolled_up=rolled_up(connection, seq)))
        delete_run(connection, run)
