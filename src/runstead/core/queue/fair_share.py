"""Fair shares of a fixed number of slots, so that no project can take all of them."""

from collections.abc import Mapping, Sequence

import msgspec


class FairShare(msgspec.Struct, frozen=True):
    """What a loop may start now: at most `limit` calls, at most `per_project` of one project with those that it
    has in progress, and none to the receivers in `busy`.

    `held`: project id → its calls in progress.
    """

    limit: int
    per_project: int = 1_000_000
    held: Mapping[str, int] = {}
    busy: Sequence[str] = ()

    def left(self, project_id: str) -> int:
        """Return how many calls of the project may start."""
        return max(0, self.per_project - self.held.get(project_id, 0))

    @property
    def full(self) -> list[str]:
        """The projects of which no call may start."""
        return [project_id for project_id in self.held if not self.left(project_id)]


def fair_share(most: int, held: Mapping[str, int], busy: Sequence[str]) -> FairShare:
    """Return the share where `most` slots exist: half of the free ones, for one project an eighth of all at most.

    A project that holds none then gets a slot at once while up to eight projects take all that they may. The half that
    is left free is the dynamic threshold of Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
    Packet Switches" (1998).
    """
    half = max(1, (most - sum(held.values())) // 2)
    return FairShare(half, max(1, min(half, most // 8)), held, busy)
