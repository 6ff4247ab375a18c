"""Batches in PostgreSQL: how their runs are created and cancelled."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Tally, counted
from runstead.core.errors import Error
from runstead.core.idempotency import Idempotency
from runstead.core.runs.write_set import WriteSet, cancel_descendants, write_set
from runstead.engines.postgres.commit.commands import Apply, apply_all
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.settled import with_all_settled
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.idempotency import IdempotencyRecords
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.batches import SqlBatches
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import Database, value
from runstead.ports.store import DecideOne, Made, Member, Written, count_runs


class PostgresBatches(SqlBatches):
    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database)
        self._writer = writer

    async def create(self, batch: Batch, members: Sequence[Member], idempotency: Idempotency = None) -> Made:
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
            any_new = any(one.before is None for one in written)
            new = replace(
                batch, created_at=transaction.now, completed_at=None if any_new else transaction.now
            )
            seq = await DRIVER.run(connection, value("add_batch", **fields(new)))
            made = Made(_with_runs(replace(new, seq=seq), written), written)
            answer = idempotency_records.answer(idempotency, made)
            if idempotency is not None and answer is not None:
                draft.add_idempotency_record(idempotency, answer, transaction.now)
            await draft.write(connection)
            return made

        return await self._writer.run(work)

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        """Cancel some runs of the batch. Replicas may call it concurrently: locked rows are waited for."""

        async def work(transaction: Transaction) -> list[Written]:
            now = await transaction.moment()
            draft = Draft()
            rows = await transaction.connection.fetch(
                Q["active_runs_of_batch"], batch.id, batch.project_id, limit
            )
            members = [
                run
                for run in draft.lock(rows)
                if (run.project_id, run.batch_id) == (batch.project_id, batch.id)
            ]
            # Again after the lock: a run may have got a child during the wait.
            parents = [run for run in members if run.descendants_total]
            if parents:
                given = ([run.seq for run in parents], [run.root_seq for run in parents])
                draft.lock(await transaction.connection.fetch(Q["active_descendants_of"], *given))
            written: list[Written] = []
            for seq in (run.seq for run in members):
                if count_runs(written) >= limit:
                    break  # the next call cancels the others
                if not draft.runs[seq].terminal:  # an ancestor's cancel may have included it
                    written.append(_cancel(draft, seq, now, decide))
            await draft.write(transaction.connection)
            return with_all_settled(written, draft)

        return await self._writer.run(work)


def _with_runs(batch: Batch, written: Sequence[Written]) -> Batch:
    """The batch with its new runs counted."""
    tally = Tally()
    for one in written:
        if one.before is None:
            tally.note(None, one.run)
    for moved in tally.moved.values():
        batch = counted(batch, moved)
    return batch


def _cancel(draft: Draft, seq: int, now: int, decide: DecideOne) -> Written:
    """Cancel a run of a batch and its descendants, whose rows are all locked."""
    run = draft.runs[seq]
    now = max(now, run.updated_at)
    write = write_set(run, decide(run, now), now)
    step = f"/{seq}/"
    descendants: list[WriteSet] = []
    if run.descendants_total and write.cancels_family:
        descendants = cancel_descendants(write, [one for one in draft.runs.values() if step in one.path])
    draft.take([write, *descendants])
    return Written.of(write, descendants)
