"""Compensations in the transactions of runs, in SQLite."""

import sqlite3
from collections.abc import Callable

from msgspec.structs import astuple

from runstead.core.runs.compensation import Compensation, RegisteredCompensations
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.write_set import WriteSet, compensate, release_next
from runstead.engines.sqlite import families
from runstead.engines.sqlite.rows import insert_runs, to_run
from runstead.engines.sqlite.sql import Q


def registered_compensations(
    connection: sqlite3.Connection, run_seq: int, key: str | None
) -> RegisteredCompensations:
    (size,) = connection.execute(Q["registered_bytes"], (run_seq,)).fetchone()
    row = None
    if key is not None:
        row = connection.execute(Q["compensation_by_key"], (run_seq, key)).fetchone()
    return RegisteredCompensations(size, None if row is None else Compensation(*row))


def compensations(connection: sqlite3.Connection, run_seq: int) -> list[Compensation]:
    return [Compensation(*row) for row in connection.execute(Q["compensations"], (run_seq,))]


def _store_compensation(connection: sqlite3.Connection, run_seq: int, compensation: Compensation) -> None:
    connection.execute(Q["store_compensation"], (run_seq, *astuple(compensation)))


def settle_compensations(
    connection: sqlite3.Connection, ended: WriteSet, store: Callable[[WriteSet], object]
) -> list[Run]:
    """Store a new compensation; create or drop those of a run that ends; queue the next after one that ends itself.

    Its row is stored; `store` stores the write sets of the others. Returns the runs that were created and queued.
    """
    settled: list[Run] = []
    if ended.compensation is not None:
        _store_compensation(connection, ended.run.seq, ended.compensation)
    if ended.ends_compensations:
        settled += _create(connection, ended, store)
    if ended.ends_compensation:
        row = connection.execute(Q["first_compensation"], (ended.run.parent_seq,)).fetchone()
        released = release_next(ended, None if row is None else to_run(row))
        if released is not None:
            store(released)
            settled.append(released.run)
    return settled


def _create(
    connection: sqlite3.Connection, ended: WriteSet, store: Callable[[WriteSet], object]
) -> list[Run]:
    run = ended.run
    if run.status is RunStatus.COMPLETED:
        connection.execute(Q["delete_compensations"], (run.seq,))
        return []
    registered = compensations(connection, run.seq)
    first = connection.execute(Q["last_seq"]).fetchone()[0] + 1
    created = compensate(ended, registered, range(first, first + len(registered)))
    families.note_first_child(connection, run)
    insert_runs(connection, [write.run for _, write in created])
    for compensation, write in created:
        store(write)
        _store_compensation(connection, run.seq, compensation)
    return [write.run for _, write in created]
