"""Concurrency limits of projects and targets. `Runs.claim` and `Runs.dispatch` enforce them."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy


class Concurrency(Protocol):
    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        """Replace the limits of the project, and return the same as `of`. Each target appears once.

        Claims that begin after this call respect the new limits. Running runs are not affected.
        """

    async def of(self, project_id: str) -> list[Occupancy]:
        """Return the project's limits with the number of runs that count for each (`Run.occupies`), up to
        `limits.running_counted_max`. The limit of the whole project comes first, then the targets in order.
        """

    async def next_token(self, project_id: str, targets: Sequence[str | None], since_ms: int) -> int | None:
        """Return the ms until the next token comes to an empty bucket of these targets' rates (None: of the project's
        rate), None if no bucket is empty.

        A token that came at most `since_ms` ago counts as there now, as in `Runs.next_available`.
        """
