"""Retention: families that ended long ago leave, with all that belongs to them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from runstead.core.conversations.conversation import MessageRun


class RetentionCandidate(msgspec.Struct, frozen=True):
    """A run that may leave. `message` where it fills a message of a conversation that is not deleted."""

    seq: int
    root_seq: int
    message: MessageRun | None = None


class RetentionPage(NamedTuple):
    """`reached`: where to go on (`after`), None once everything that is old enough was looked at."""

    runs: list[RetentionCandidate]
    reached: int | None


class Archived(msgspec.Struct, frozen=True):
    """What stays of a message whose run leaves: its parts, a JSON array, and a `conversation.Outcome` as JSON."""

    parts: bytes
    outcome: bytes


class Retention(Protocol):
    async def candidates(self, age_ms: int, after: int, limit: int) -> RetentionPage:
        """Runs of families whose root ended longer ago than this, and in which nothing is active: roots with a seq
        over `after`, oldest first; of each family the youngest run first; at most `limit` runs.
        """
        ...

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        """Delete these runs, all in one transaction, with what belongs to them; how many left. A message for which
        there is something `Left` stays, without its run; any other goes. What has changed since, so that the family
        is active again or a run would leave a child behind, stays with its whole family.
        """
        ...

    async def sweep(self, age_ms: int) -> int:
        """Give back the room of runs that left, where the engine does so later: a bounded piece of it; how much was
        done, 0 where nothing is left to do.
        """
        ...
