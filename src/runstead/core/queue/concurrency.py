"""Limits on how many runs of a project, or of one of its targets, are worked on at a time."""

from collections.abc import Mapping

import msgspec

from runstead.core.runs.run import Run


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """At most `max_running` runs of a target run at a time; of the whole project where `target` is None. 0 holds all
    of them back.
    """

    target: str | None
    max_running: int


class Occupancy(msgspec.Struct, frozen=True):
    """A limit, and how many runs count for it now (no more are counted than `limits.running_told_max`)."""

    limit: ConcurrencyLimit
    running: int


class ConcurrencySlots:
    """How many more runs may begin, by (project, target or None for the whole project). What is not named is free."""

    def __init__(self, slots: Mapping[tuple[str, str | None], int]) -> None:
        self._rooms = dict(slots)

    @classmethod
    def beside(cls, project_id: str, occupancies: list[Occupancy]) -> "ConcurrencySlots":
        """What the limits of one project leave."""
        return cls(
            {(project_id, one.limit.target): one.limit.max_running - one.running for one in occupancies}
        )

    def left(self, project_id: str, target: str | None) -> int | None:
        """How many more of this target, None for any number. It is never below 0."""
        named = (self._rooms.get((project_id, None)), self._rooms.get((project_id, target)))
        found = [room for room in named if room is not None]
        return max(min(found), 0) if found else None

    def of_project(self, project_id: str) -> int | None:
        """How many more of the whole project."""
        return self.left(project_id, None)

    def any_in(self, project_id: str) -> bool:
        """Whether the project has limits at all."""
        return any(name[0] == project_id for name in self._rooms)

    def has_targets(self, project_id: str) -> bool:
        """Whether one of its targets has a limit of its own."""
        return any(name[0] == project_id and name[1] is not None for name in self._rooms)

    def take(self, run: Run) -> bool:
        """Whether the run may begin. Where it may, its room is taken."""
        return self.take_one(run.project_id, run.target)

    def take_one(self, project_id: str, target: str | None) -> bool:
        if self.left(project_id, target) == 0:
            return False
        for name in {(project_id, None), (project_id, target)}:
            if name in self._rooms:
                self._rooms[name] -= 1
        return True
