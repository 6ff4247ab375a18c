"""Batches in SQLite: how their runs are created and cancelled."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Tally
from runstead.core.idempotency import IdempotencyRecord
from runstead.engines.sql.batches import SqlBatches
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import Database, value
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.load_run import load_run
from runstead.engines.sqlite.related import DRIVER, count_batches, load_batch
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.runs import write_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import DecideOne, Made, Member, Written


class SqliteBatches(SqlBatches):
    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._writer = writer
        self._cache = writer.cache

    async def create(
        self, batch: Batch, members: Sequence[Member], idempotency: IdempotencyRecord | None = None
    ) -> Made:
        def job(connection: sqlite3.Connection, now: int) -> Made:
            # All are decided before anything is written, so that a refusal fails alone.
            decided = []
            for key, decide, want in members:
                loaded = load_run(connection, self._writer, key, want, now)
                transition = decide(loaded)
                assert loaded.run is None, key
                decided.append((transition, want, key))
            DRIVER.run(connection, value("add_batch", **fields(replace(batch, created_at=now))))
            tally = Tally()
            written = []
            for transition, want, key in decided:
                # The first child gives the parent a family, which the later children must see.
                parent = (
                    load_run(connection, self._writer, key, want, now).parent
                    if want.parent_run_id is not None
                    else None
                )
                written.append(write_run(connection, self._cache, None, transition, now, parent, tally))
            count_batches(connection, tally)
            made = load_batch(connection, batch.id, batch.project_id)
            assert made is not None
            return Made(made, written)

        return await self._writer.do(idempotent(job, idempotency))

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            tally = Tally()
            written: list[Written] = []
            alive = connection.execute(
                Q["active_runs_of_batch"], (batch.id, batch.project_id, limit)
            ).fetchall()
            for (seq,) in alive:
                if sum(1 + len(each.cancelled) for each in written) >= limit:
                    break  # the next call cancels the others
                run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
                if not run.terminal:  # an ancestor's cancel may have included it
                    written.append(
                        write_run(connection, self._cache, run, decide(run, now), now, tally=tally)
                    )
            count_batches(connection, tally)
            return written

        return await self._writer.do(job)
