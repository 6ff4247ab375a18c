"""A migration that is not applied yet, and whether earlier versions work with its result."""

from typing import NamedTuple


class PendingMigration(NamedTuple):
    name: str
    breaking: tuple[str, ...] = ()
    """Statements whose result an earlier version may not work with. Empty: it may run meanwhile."""

    works_from: str | None = None
    """The first version that works with the result. None with `breaking`: this version."""

    @property
    def safe(self) -> bool:
        """Whether replicas of the previous version may run while it is applied, and afterwards."""
        return not self.breaking and self.works_from is None
