"""Batches: reads and edits. Each engine creates and cancels their runs in its own way."""

from msgspec.structs import asdict

from runstead.core import limits
from runstead.core.batches.batch import Batch, Changed
from runstead.core.errors import existing
from runstead.core.idempotency import Idempotency
from runstead.engines.sql.methods import SqlNoun, command, paged
from runstead.engines.sql.steps import Steps, changed, execute, first, select, select_page
from runstead.ports.store import BatchQuery, DecideBatch, ListPage


class SqlBatches(SqlNoun):
    async def get(self, project_id: str, batch_id: str) -> Batch | None:
        return await self._database.read(load_batch, batch_id, project_id)

    @paged
    def page(self, query: BatchQuery) -> Steps[ListPage[Batch]]:
        before = limits.integer_max if query.before is None else query.before
        filters = asdict(query) | {"before": before}
        return select_page("batches_page", Batch, **filters)

    @command
    def change(
        self, now: int, project_id: str, batch_id: str, decide: DecideBatch, idempotency: Idempotency = None
    ) -> Steps[Changed]:
        old = existing((yield from first("lock_batch", Batch, id=batch_id, project_id=project_id)), "Batch")
        new = decide(old, max(now, old.created_at))
        if new.batch is not old:
            yield from execute("change_batch", new.batch)
            yield from changed(old, new.batch)
        return new

    async def unfinished(self, limit: int) -> list[Batch]:
        return await self._database.read(select, "unfinished_batches", Batch, limit=limit)


def load_batch(batch_id: str, project_id: str) -> Steps[Batch | None]:
    found = yield from first("batch", Batch, id=batch_id)
    return found if found is not None and found.project_id == project_id else None
