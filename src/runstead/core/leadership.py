"""Leader election among replicas: the rules of the lease, and the state that a replica keeps of its own lead."""

from collections.abc import Callable

import msgspec

from runstead.core.clock import elapsed_s


class Lead(msgspec.Struct, frozen=True):
    """The leader's lease in the store. `expires_at` in ms by the store's clock. `term` grows with every
    election, so that of two replicas that both believe to lead, the higher term is the right one.
    """

    term: int = 0
    owner: str | None = None  # None: there is no leader
    expires_at: int = 0


def elect(held: Lead, owner: str, lease_ms: int, now: int) -> Lead:
    """Decide a request for the lead: renew it for its owner, or give it to `owner` if it is free or has
    expired.

    An owner whose lease has expired is elected again, with a new term. Times in ms by the store's clock.
    """
    if held.owner is None or held.expires_at <= now:
        return Lead(held.term + 1, owner, now + lease_ms)
    if held.owner == owner:
        return Lead(held.term, owner, now + lease_ms)
    # A lease that ends later than a whole lease from now shows that the clock was set back. It is shortened,
    # so that a dead leader does not keep the lead until the clock has caught up.
    return Lead(held.term, held.owner, min(held.expires_at, now + lease_ms))


def unexpired(held: Lead, now: int) -> Lead:
    """Return the lead, without an owner if it has expired."""
    return held if held.expires_at > now else Lead(held.term)


def resign(held: Lead, owner: str) -> Lead:
    """Return the lead without an owner if `owner` holds it, else unchanged."""
    return Lead(held.term) if held.owner == owner else held


class LeaderState:
    """What this replica knows about the lead. Its own lead ends by a local clock that continues while the
    process is stopped or the machine sleeps, and that started before the request to the store. So it ends
    before another replica can be elected.
    """

    def __init__(self, clock: Callable[[], float] = elapsed_s) -> None:
        self.clock = clock
        self.term = 0  # the latest known term, of any replica
        self._until = 0.0

    @property
    def leads(self) -> bool:
        return self.clock() < self._until

    def hold(self, term: int, until: float) -> None:
        self.term, self._until = term, until

    def follow(self, term: int) -> None:
        self.hold(term, 0.0)
