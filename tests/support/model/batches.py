"""Batches in memory."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Changed
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.ports.store import (
    Batches,
    BatchQuery,
    DecideBatch,
    DecideOne,
    ListPage,
    Made,
    Member,
    Written,
    count_runs,
)
from tests.support.model.draft import Draft
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows
from tests.support.model.runs import ModelRuns


class ModelBatches(Batches):
    def __init__(self, journal: Journal, rows: Rows, runs: ModelRuns) -> None:
        self._journal = journal
        self._rows = rows
        self._runs = runs

    async def create(
        self, batch: Batch, members: Sequence[Member], idempotency: IdempotencyRecord | None = None
    ) -> Made:
        def plan(now: int) -> tuple[Made, Effect]:
            assert batch.id not in self._rows.batches, batch.id
            draft = Draft(self._rows, now)
            draft.add_batch(replace(batch, created_at=now, seq=len(self._rows.batches) + 1))
            for key, decide, want in members:
                loaded = self._runs.load(key, want, now)
                transition = decide(loaded)
                assert loaded.run is None, key
                draft.write(None, transition)
            made = draft.batch(batch.id)
            assert made is not None
            return Made(made, draft.results()), draft.commit

        return self._journal.write(idempotency, plan)

    async def get(self, project_id: str, batch_id: str) -> Batch | None:
        found = self._rows.batches.get(batch_id)
        return found if found is not None and found.project_id == project_id else None

    async def page(self, query: BatchQuery) -> ListPage[Batch]:
        found = [
            one
            for one in reversed(self._rows.batches.values())
            if one.project_id == query.project_id and (query.before is None or one.seq < query.before)
        ]
        return ListPage(found[: query.limit], len(found) > query.limit)

    async def change(
        self,
        project_id: str,
        batch_id: str,
        decide: DecideBatch,
        idempotency: IdempotencyRecord | None = None,
    ) -> Changed:
        def plan(now: int) -> tuple[Changed, Effect]:
            batch = self._rows.batches.get(batch_id)
            if batch is None or batch.project_id != project_id:
                raise not_found("Batch")
            changed = decide(batch, now)
            return changed, lambda: self._rows.batches.update({batch_id: changed.batch})

        return self._journal.write(idempotency, plan)

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        def plan(now: int) -> tuple[list[Written], Effect]:
            alive = (
                run
                for run in self._rows.runs.values()
                if (run.project_id, run.batch_id) == (batch.project_id, batch.id) and not run.terminal
            )
            draft = Draft(self._rows, now)
            for seq in sorted(run.seq for run in islice(alive, limit)):
                if count_runs(draft.results()) >= limit:
                    break
                run = draft.run(seq)
                if not run.terminal:  # one above it may have taken it along
                    draft.write(run, decide(run, now))
            return draft.results(), draft.commit

        return self._journal.write(None, plan)

    async def unfinished(self, limit: int) -> list[Batch]:
        found = (
            one for one in self._rows.batches.values() if one.status == "cancelling" or one.follow_up_due
        )
        return list(islice(found, limit))
