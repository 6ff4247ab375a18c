"""The limits on running runs, per project and per target. `Runs.claim` and `Runs.dispatch` keep to them."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.queue.concurrency import ConcurrencyLimit, Occupancy


class Concurrency(Protocol):
    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        """Replace the limits of the project, each target named once, and tell as `of` does. Claims that begin after
        this has returned keep to them; what runs already runs on.
        """
        ...

    async def of(self, project_id: str) -> list[Occupancy]:
        """The project's limits, that of the whole project first, then by target; and how many runs count for each
        (`Run.occupies`), up to `limits.running_counted_max`.
        """
        ...
