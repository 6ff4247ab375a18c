"""Batches, and the runs that are created with them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from runstead.core.batches.batch import Batch, Changed
from runstead.core.idempotency import Idempotency
from runstead.core.runs.transition import NOTHING_ELSE, Decide, Want
from runstead.ports.store.list_page import ListPage
from runstead.ports.store.runs import DecideOne, RunKey, Written

DecideBatch = Callable[[Batch, int], Changed]
"""(batch, now) → the changed batch."""


class Member(NamedTuple):
    """A run to be created: its name, and the rule that creates it."""

    key: RunKey
    decide: Decide
    want: Want = NOTHING_ELSE


class Made(NamedTuple):
    """A batch and the runs that were created with it, in the order of the request."""

    batch: Batch
    runs: list[Written]


class BatchQuery(msgspec.Struct, frozen=True):
    """A list of the batches of a project. `before` continues after a page: the seq of its last row."""

    project_id: str
    limit: int
    before: int | None = None


class BatchChanges(Protocol):
    async def change(
        self, project_id: str, batch_id: str, decide: DecideBatch, idempotency: Idempotency = None
    ) -> Changed:
        """Change a batch under lock. NOT_FOUND."""


class Batches(BatchChanges, Protocol):
    """Batches and their counters.

    A command that changes the status of a run also changes the counters of its batch in the same transaction
    (`batch.Tally`, `batch.counted`). The command that ends the last run completes the batch. A completed
    batch accepts no runs. Deleted runs stay counted. Claims skip the runs of a cancelled batch.
    """

    async def create(self, batch: Batch, members: Sequence[Member], idempotency: Idempotency = None) -> Made:
        """Store the batch with all its runs, or nothing. Each member is decided as in `Runs.apply`; the first
        refusal is raised unchanged. All keys are different. `created_at` is the engine's time.
        """

    async def get(self, project_id: str, batch_id: str) -> Batch | None: ...

    async def page(self, query: BatchQuery) -> ListPage[Batch]:
        """Return batches, newest first: at most `limits.list_page_bytes_max` of them."""

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        """Decide and write active runs of the batch, oldest first, until `limit` runs are cancelled with the
        descendants that are cancelled beside them. Empty if there are none.
        """

    async def unfinished(self, limit: int) -> list[Batch]:
        """Return the batches that the finalizer must handle, oldest first: cancelled with active runs, or
        completed without their follow-up run.
        """
