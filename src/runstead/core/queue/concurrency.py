"""Concurrency limits: how many runs of a project, or of one of its targets, may run at a time."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from runstead.core.runs.run import Run


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """The limit of a target, or of the whole project if `target` is None.

    A limit of 0 holds back all its runs, None is no limit. `max_running_per_key` counts the runs of each concurrency key
    of the target.
    """

    target: str | None
    max_running: int | None = None
    max_running_per_key: int | None = None

    @property
    def limits_anything(self) -> bool:
        """Whether it has any limit."""
        return self.max_running is not None or self.max_running_per_key is not None


class Occupancy(msgspec.Struct, frozen=True):
    """A limit and how many runs count for it now. The count stops at `limits.running_counted_max`."""

    limit: ConcurrencyLimit
    running: int


class Turn(NamedTuple):
    """A concurrency key of a target whose turn it is, and how many of its runs are running."""

    target: str
    key: str
    running: int


class ConcurrencySlots:
    """The free slots by (project, target), where the target None stands for the whole project.

    A pair that is not in `slots` has no limit.
    """

    def __init__(self, occupancies: Iterable[tuple[str, Occupancy]] = ()) -> None:
        """`occupancies`: (project id, limit with the runs that count for it)."""
        self._slots: dict[tuple[str, str | None], int] = {}
        self._per_key: dict[tuple[str, str], int] = {}
        self._of_keys: dict[tuple[str, str, str], int] = {}
        for project_id, one in occupancies:
            limit = one.limit
            if limit.max_running is not None:
                self._slots[project_id, limit.target] = limit.max_running - one.running
            if limit.max_running_per_key is not None and limit.target is not None:
                self._per_key[project_id, limit.target] = limit.max_running_per_key

    @classmethod
    def from_occupancies(cls, project_id: str, occupancies: Iterable[Occupancy]) -> "ConcurrencySlots":
        """The slots that the limits of one project leave free."""
        return cls((project_id, one) for one in occupancies)

    def per_key(self, project_id: str, target: str) -> int | None:
        """How many runs of each concurrency key of the target may run, None without a limit."""
        return self._per_key.get((project_id, target))

    def note_running(self, project_id: str, turn: Turn) -> int | None:
        """Note how many runs of a key were running before any slot was taken. Return how many more may start now."""
        most = self.per_key(project_id, turn.target)
        if most is None:
            return None
        return self._of_keys.setdefault((project_id, turn.target, turn.key), most - turn.running)

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
        return any(name[0] == project_id for name in (*self._slots, *self._per_key))

    def has_target_limits(self, project_id: str) -> bool:
        """Whether a target of the project has a limit of its own."""
        return any(name[0] == project_id and name[1] is not None for name in self._slots)

    def take(self, run: Run) -> bool:
        """Take a slot for the run. Returns False if none is free."""
        of_key = run.project_id, run.target or "", run.concurrency_key or ""
        if self._of_keys.get(of_key, 1) <= 0 or not self.take_slot(run.project_id, run.target):
            return False
        if of_key in self._of_keys:
            self._of_keys[of_key] -= 1
        return True

    def take_slot(self, project_id: str, target: str | None) -> bool:
        """Take a slot for a run of the target. Returns False if none is free."""
        if self.remaining(project_id, target) == 0:
            return False
        for name in {(project_id, None), (project_id, target)}:
            if name in self._slots:
                self._slots[name] -= 1
        return True
