"""Concurrency limits: how many runs of a project, or of one of its targets, may run at a time."""

from collections.abc import Mapping

import msgspec

from runstead.core.runs.run import Run


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """The limit of a target, or of the whole project if `target` is None.

    A limit of 0 holds back all its runs.
    """

    target: str | None
    max_running: int


class Occupancy(msgspec.Struct, frozen=True):
    """A limit and how many runs count for it now. The count stops at `limits.running_counted_max`."""

    limit: ConcurrencyLimit
    running: int


class ConcurrencySlots:
    """The free slots by (project, target), where the target None stands for the whole project.

    A pair that is not in `slots` has no limit.
    """

    def __init__(self, slots: Mapping[tuple[str, str | None], int]) -> None:
        self._slots = dict(slots)

    @classmethod
    def from_occupancies(cls, project_id: str, occupancies: list[Occupancy]) -> "ConcurrencySlots":
        """The slots that the limits of one project leave free."""
        return cls(
            {(project_id, one.limit.target): one.limit.max_running - one.running for one in occupancies}
        )

    def remaining(self, project_id: str, target: str | None) -> int | None:
        """How many more runs of the target may start: at least 0, None without a limit."""
        limits = (self._slots.get((project_id, None)), self._slots.get((project_id, target)))
        free = [slots for slots in limits if slots is not None]
        return max(min(free), 0) if free else None

    def project_remaining(self, project_id: str) -> int | None:
        """How many more runs of the whole project may start, None without a limit."""
        return self.remaining(project_id, None)

    def has_limits(self, project_id: str) -> bool:
        """Whether the project or one of its targets has a limit."""
        return any(name[0] == project_id for name in self._slots)

    def has_target_limits(self, project_id: str) -> bool:
        """Whether a target of the project has a limit of its own."""
        return any(name[0] == project_id and name[1] is not None for name in self._slots)

    def take(self, run: Run) -> bool:
        """Take a slot for the run. Returns False if none is free."""
        return self.take_slot(run.project_id, run.target)

    def take_slot(self, project_id: str, target: str | None) -> bool:
        """Take a slot for a run of the target. Returns False if none is free."""
        if self.remaining(project_id, target) == 0:
            return False
        for name in {(project_id, None), (project_id, target)}:
            if name in self._slots:
                self._slots[name] -= 1
        return True
