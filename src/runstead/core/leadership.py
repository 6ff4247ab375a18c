"""Who of the replicas leads: who may be elected, and what a replica may believe of itself."""

from collections.abc import Callable

import msgspec

from runstead.core.clock import elapsed_s


class Lead(msgspec.Struct, frozen=True):
    """The lead as the store has it. `expires_at` is in ms by the store's clock; `term` grows with every election, so
    that of two who think they lead, the later one is known.
    """

    term: int = 0
    owner: str | None = None  # nobody's: there was none yet, or it was given up
    expires_at: int = 0


def elect(held: Lead, owner: str, lease_ms: int, now: int) -> Lead:
    """Renews the lead of whoever holds it, and gives it to another once it has run out or was given up. A holder
    that let it run out is elected anew, into a new term.
    """
    if held.owner is None or held.expires_at <= now:
        return Lead(held.term + 1, owner, now + lease_ms)
    if held.owner == owner:
        return Lead(held.term, owner, now + lease_ms)
    # More than a whole lease ahead: the clock was set back. It must not keep a dead leader in office until it is there.
    return Lead(held.term, held.owner, min(held.expires_at, now + lease_ms))


def unexpired(held: Lead, now: int) -> Lead:
    """The lead as it is told to others: one that has run out is nobody's."""
    return held if held.expires_at > now else Lead(held.term)


def resign(held: Lead, owner: str) -> Lead:
    """Nobody leads any more, if it was this one."""
    return Lead(held.term) if held.owner == owner else held


class LeaderState:
    """What this replica may believe. Its lead ends by a clock of its own that goes on while the process stands still or
    the machine sleeps, and counts from before the store was asked: it ends before anybody else can be elected.
    """

    def __init__(self, clock: Callable[[], float] = elapsed_s) -> None:
        self.clock = clock
        self.term = 0  # the latest one heard of, whoever holds it
        self._until = 0.0

    @property
    def leads(self) -> bool:
        return self.clock() < self._until

    def hold(self, term: int, until: float) -> None:
        self.term, self._until = term, until

    def follow(self, term: int) -> None:
        self.hold(term, 0.0)
