"""Batches in SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple, replace

from runstead.core.batches.batch import BATCH_FIELDS, Batch, Changed, Tally
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.engines.sqlite.batch_counts import COLUMNS, count, load, rewrite
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.runs import load_run, write_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import BatchQuery, DecideBatch, DecideOne, Made, Member, Written

_SEQ: Final = BATCH_FIELDS.index("seq")
_STORED: Final = tuple(name for name in BATCH_FIELDS if name != "seq")
_INSERT: Final = f"INSERT INTO batches ({', '.join(_STORED)}) VALUES ({', '.join('?' for _ in _STORED)})"  # noqa: S608
_PAGE: Final = f"SELECT {COLUMNS} FROM batches WHERE project_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
_CANCELLING: Final = "cancel_requested_at IS NOT NULL AND completed_at IS NULL"
_TO_FOLLOW_UP: Final = "on_complete IS NOT NULL AND completed_at IS NOT NULL AND cancel_requested_at IS NULL AND followed_up_at IS NULL"
_UNFINISHED: Final = " UNION ALL ".join(
    f"SELECT * FROM (SELECT {COLUMNS} FROM batches WHERE {which} ORDER BY seq LIMIT ?1)"  # noqa: S608
    for which in (_CANCELLING, _TO_FOLLOW_UP)
)


class SqliteBatches:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._cache = writer.cache
        self._readers = readers

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
            values = list(astuple(replace(batch, created_at=now)))
            assert values.pop(_SEQ) == 0
            connection.execute(_INSERT, values)
            tally = Tally()
            written = []
            for transition, want, key in decided:
                # Its first child gives a parent a family: the ones after it have to see that.
                parent = (
                    load_run(connection, self._writer, key, want, now).parent
                    if want.parent_run_id is not None
                    else None
                )
                written.append(write_run(connection, self._cache, None, transition, now, parent, tally))
            count(connection, tally)
            made = load(connection, batch.id, batch.project_id)
            assert made is not None
            return Made(made, written)

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, project_id: str, batch_id: str) -> Batch | None:
        return await self._readers.do(lambda c: load(c, batch_id, project_id))

    async def page(self, query: BatchQuery) -> list[Batch]:
        before = 1 << 62 if query.before is None else query.before
        arguments = (query.project_id, before, query.limit)
        return await self._readers.do(lambda c: [Batch(*row) for row in c.execute(_PAGE, arguments)])

    async def change(
        self,
        project_id: str,
        batch_id: str,
        decide: DecideBatch,
        idempotency: IdempotencyRecord | None = None,
    ) -> Changed:
        def job(connection: sqlite3.Connection, now: int) -> Changed:
            batch = load(connection, batch_id, project_id)
            if batch is None:
                raise not_found("Batch")
            changed = decide(batch, now)
            rewrite(connection, batch, changed.batch)
            return changed

        return await self._writer.do(idempotent(job, idempotency))

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            tally = Tally()
            written = []
            alive = connection.execute(Q["batch_alive"], (batch.id, batch.project_id, limit)).fetchall()
            for (seq,) in alive:
                run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
                if not run.terminal:  # one above it may have taken it along
                    written.append(
                        write_run(connection, self._cache, run, decide(run, now), now, tally=tally)
                    )
            count(connection, tally)
            return written

        return await self._writer.do(job)

    async def unfinished(self, limit: int) -> list[Batch]:
        found = await self._readers.do(lambda c: [Batch(*row) for row in c.execute(_UNFINISHED, (limit,))])
        return sorted(found, key=lambda batch: batch.seq)[:limit]
