"""Batches, and the runs that are created with them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from runstead.core.batches.batch import Batch, Changed
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.transition import NOTHING_ELSE, Decide, Want
from runstead.ports.store.runs import DecideOne, RunKey, Written

DecideBatch = Callable[[Batch, int], Changed]
"""(batch, now) → what becomes of it."""


class Member(NamedTuple):
    """A run to be created: its name and the rule that makes it."""

    key: RunKey
    decide: Decide
    want: Want = NOTHING_ELSE


class Made(NamedTuple):
    """A batch with the runs that were created with it, in the order in which they were asked for."""

    batch: Batch
    runs: list[Written]


class BatchQuery(msgspec.Struct, frozen=True):
    """Batches of one project; `before` continues after the last row of a page: its seq."""

    project_id: str
    limit: int
    before: int | None = None


class Batches(Protocol):
    """Whatever changes the status of a run whose `batch_id` names a batch of its project moves that batch's counters in
    the same transaction (`batch.Tally`, `batch.counted`), and the one that ends its last run completes it. No run joins
    a batch that is completed. A run that is deleted stays counted. Claims pass over the runs of a batch that was called
    off.
    """

    async def create(
        self, batch: Batch, members: Sequence[Member], idempotency: IdempotencyRecord | None = None
    ) -> Made:
        """Store the batch with all its runs, or nothing: each member is decided as `Runs.apply` does, and its refusal is
        raised as it is. The keys are all different. `created_at` is the engine's time.
        """
        ...

    async def get(self, project_id: str, batch_id: str) -> Batch | None: ...

    async def page(self, query: BatchQuery) -> list[Batch]:
        """Newest first."""
        ...

    async def change(
        self,
        project_id: str,
        batch_id: str,
        decide: DecideBatch,
        idempotency: IdempotencyRecord | None = None,
    ) -> Changed:
        """Decide about a batch under lock, and write what was decided. NOT_FOUND."""
        ...

    async def cancel_some(self, batch: Batch, limit: int, decide: DecideOne) -> list[Written]:
        """At most `limit` runs of the batch that have not ended, oldest first, each decided and written, with all that
        runs below them. Empty where there was none.
        """
        ...

    async def unfinished(self, limit: int) -> list[Batch]:
        """Batches that need a hand, oldest first: called off with runs that have not ended, or completed with a run of
        `on_complete` to be created.
        """
        ...
