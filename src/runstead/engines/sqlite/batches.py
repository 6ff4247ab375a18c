"""Batches in SQLite: how their runs are created and cancelled."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Tally
from runstead.core.idempotency import Idempotency
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.write_set import write_set
from runstead.engines.sql.batches import SqlBatches
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import Database, value
from runstead.engines.sqlite.families import count, note_first_child
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.load_run import load_members
from runstead.engines.sqlite.related import DRIVER, add_audit_entries, count_batches, load_batch
from runstead.engines.sqlite.rows import insert_runs, to_run
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.write_run import store_beside, write_run
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import DecideOne, Made, Member, Written, count_runs


class SqliteBatches(SqlBatches):
    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._writer = writer
        self._cache = writer.cache

    async def create(self, batch: Batch, members: Sequence[Member], idempotency: Idempotency = None) -> Made:
        def job(connection: sqlite3.Connection, now: int) -> Made:
            # All are decided before anything is written, so that a refusal fails alone.
            decided = [
                (loaded, decide(loaded))
                for (_, decide, _), loaded in zip(
                    members, load_members(connection, self._writer, members, now), strict=True
                )
            ]
            new = [(loaded.parent, made) for loaded, made in decided if loaded.before(made) is None]
            opened = replace(batch, created_at=now, completed_at=None if new else now)
            DRIVER.run(connection, value("add_batch", **fields(opened)))
            written = _create(connection, self._cache, new, now)
            if len(new) < len(decided):
                created = iter(written)
                written = [
                    next(created)
                    if (found := loaded.before(transition)) is None
                    # A run that exists already, which takes the place of a new one.
                    else write_run(connection, self._cache, found, transition, now)
                    for loaded, transition in decided
                ]
            made = load_batch(connection, batch.id, batch.project_id)
            assert made is not None
            return Made(made, written)

        return await self._writer.do(idempotent(job, idempotency), keeps_cache=True)

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            tally = Tally()
            written: list[Written] = []
            alive = connection.execute(
                Q["active_runs_of_batch"], (batch.id, batch.project_id, limit)
            ).fetchall()
            for (seq,) in alive:
                if count_runs(written) >= limit:
                    break  # the next call cancels the others
                run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
                if not run.terminal:  # an ancestor's cancel may have included it
                    written.append(
                        write_run(connection, self._cache, run, decide(run, now), now, tally=tally)
                    )
            count_batches(connection, tally)
            return written

        return await self._writer.do(job)


def _create(
    connection: sqlite3.Connection,
    cache: WriterCache,
    decided: Sequence[tuple[Run | None, Transition]],
    now: int,
) -> list[Written]:
    """Write new runs, each with its parent. They are left out of the cache, which holds the runs of all tenants."""
    for parent in {parent.seq: parent for parent, _ in decided if parent is not None}.values():
        note_first_child(connection, parent)
    (last,) = connection.execute(Q["last_seq"]).fetchone()
    writes = [write_set(None, transition, now, seq) for seq, (_, transition) in enumerate(decided, last + 1)]
    insert_runs(connection, [write.run for write in writes])
    tally = Tally()
    families: dict[tuple[int, ...], list[int]] = {}
    for write in writes:
        if write.transition.audit is not None:
            add_audit_entries(connection, write.audit_entries)
        store_beside(connection, cache, write, tally)
        if write.ancestors:
            counts = families.setdefault(write.ancestors, [0, 0])
            counts[0] += write.family_total
            counts[1] += write.family_active
    for ancestors, (total, active) in families.items():
        count(connection, cache, ancestors, total, active)
    count_batches(connection, tally)
    return [Written.of(write) for write in writes]
