"""Retention: deletes families that ended long ago, with everything that belongs to them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from runstead.core.conversations.conversation import MessageRun


class RetentionCandidate(msgspec.Struct, frozen=True):
    """A run that may be deleted.

    `message` is set if the run writes a message of a conversation that is not deleted.
    """

    seq: int
    root_seq: int
    message: MessageRun | None = None


class RetentionPage(NamedTuple):
    """A page of candidates. `reached` is the next `after`, None if all old runs were read."""

    runs: list[RetentionCandidate]
    reached: int | None


class Archived(msgspec.Struct, frozen=True):
    """What is kept of a message whose run is deleted: its parts (a JSON array) and a `conversation.Outcome` as JSON."""

    parts: bytes
    outcome: bytes


class Retention(Protocol):
    async def candidates(self, age_ms: int, after: int, limit: int) -> RetentionPage:
        """Return at most `limit` runs of families without active runs whose root ended more than `age_ms`
        ago.

        Families are sorted by their root, oldest first, starting with a root seq greater than `after`. Within
        a family the newest run comes first.
        """

    async def retire(self, age_ms: int, runs: Sequence[tuple[RetentionCandidate, Archived | None]]) -> int:
        """Delete the runs and everything that belongs to them in one transaction. Returns the number of
        deleted runs.

        A message with an `Archived` value stays, without its run; other messages are deleted. A family is
        kept completely if it has become active again, or if a deleted run would leave a child behind.
        """

    async def sweep(self, age_ms: int) -> int:
        """Free a bounded part of the space of deleted runs, if the engine does so later. Returns how much was
        done, 0 if nothing is left.
        """
