"""Batches in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.batches.batch import Batch, Changed, Tally, counted
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.write_set import WriteSet, cancel_descendants, write_set
from runstead.engines.postgres.commit.commands import Apply, apply_all
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import IdempotencyRecords, idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q
from runstead.ports.store import BatchQuery, DecideBatch, DecideOne, Made, Member, Written


class PostgresBatches:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, batch: Batch, members: Sequence[Member], idempotency: IdempotencyRecord | None = None
    ) -> Made:
        async def work(transaction: Transaction) -> Made:
            connection = transaction.connection
            idempotency_records = IdempotencyRecords(connection)
            await idempotency_records.load([idempotency])
            idempotency_records.replay(idempotency)
            applies = [Apply(key, decide, want, None) for key, decide, want in members]
            try:
                written, draft = await apply_all(transaction, applies)
            except Error:
                await idempotency_records.look_again(idempotency)
                raise
            assert all(one.before is None for one in written)
            new = replace(batch, created_at=transaction.now)
            values = (new.id, new.project_id, new.created_at, new.name, new.created_by)
            ends = (new.on_complete, new.cancel_requested_at, new.cancel_reason, new.completed_at)
            seq = await connection.fetchval(Q["add_batch"], *values, *ends, new.followed_up_at)
            made = Made(_with_runs(replace(new, seq=seq), written), written)
            answer = idempotency_records.answer(idempotency, made)
            if idempotency is not None and answer is not None:
                draft.add_idempotency_record(idempotency, answer, transaction.now)
            await draft.write(connection)
            return made

        return await self._writer.run(work)

    async def get(self, project_id: str, batch_id: str) -> Batch | None:
        row = await self._readers.row(Q["batch"], batch_id)
        found = None if row is None else Batch(*row)
        return found if found is not None and found.project_id == project_id else None

    async def page(self, query: BatchQuery) -> list[Batch]:
        before = limits.integer_max if query.before is None else query.before
        rows = await self._readers.rows(Q["batches_page"], query.project_id, before, query.limit)
        return [Batch(*row) for row in rows]

    async def change(
        self,
        project_id: str,
        batch_id: str,
        decide: DecideBatch,
        idempotency: IdempotencyRecord | None = None,
    ) -> Changed:
        async def job(connection: Connection, now: int) -> Changed:
            row = await connection.fetchrow(Q["lock_batch"], batch_id, project_id)
            if row is None:
                raise not_found("Batch")
            old = Batch(*row)
            changed = decide(old, max(now, old.created_at))
            new = changed.batch
            if new is not old:
                values = (new.cancel_requested_at, new.cancel_reason, new.followed_up_at)
                await connection.execute(Q["change_batch"], new.id, *values)
            return changed

        return await self._writer.do(idempotent(job, idempotency))

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        """Every replica may call it at the same time: who comes second finds what is left."""

        async def work(transaction: Transaction) -> list[Written]:
            now = await transaction.moment()
            draft = Draft()
            rows = await transaction.connection.fetch(Q["batch_alive"], batch.id, batch.project_id, limit)
            members = [
                run
                for run in draft.lock(rows)
                if (run.project_id, run.batch_id) == (batch.project_id, batch.id)
            ]
            # Once more, now that they are held: a run may have got a child while it was waited for.
            parents = [run for run in members if run.descendants_total]
            if parents:
                given = ([run.seq for run in parents], [run.root_seq for run in parents])
                draft.lock(await transaction.connection.fetch(Q["alive_below"], *given))
            written = [
                _cancel(draft, seq, now, decide)
                for seq in (run.seq for run in members)
                if not draft.runs[seq].terminal  # one above it may have taken it along
            ]
            await draft.write(transaction.connection)
            return written

        return await self._writer.run(work)

    async def unfinished(self, limit: int) -> list[Batch]:
        return [Batch(*row) for row in await self._readers.rows(Q["unfinished_batches"], limit)]


def _with_runs(batch: Batch, written: Sequence[Written]) -> Batch:
    """As it stands once its runs are there."""
    tally = Tally()
    for one in written:
        tally.note(None, one.run)
    for moved in tally.moved.values():
        batch = counted(batch, moved)
    return batch


def _cancel(draft: Draft, seq: int, now: int, decide: DecideOne) -> Written:
    """One run of a batch, with all that runs below it: every row is held."""
    run = draft.runs[seq]
    now = max(now, run.updated_at)
    write = write_set(run, decide(run, now), now)
    step = f"/{seq}/"
    descendants: list[WriteSet] = []
    if run.descendants_total and write.cancels_family:
        descendants = cancel_descendants(write, [one for one in draft.runs.values() if step in one.path])
    draft.take([write, *descendants])
    return Written.of(write, descendants)
