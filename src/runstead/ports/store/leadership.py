"""Leader election among replicas."""

from typing import Protocol

from runstead.core.leadership import Lead


class Leadership(Protocol):
    """One lead for the whole store, decided by `leadership.elect` with the store's wall clock, even if it is
    set back.

    If a caller dies during a call, it leaves no lock that another replica has to wait for.
    """

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        """Take or renew the lead if it is free or belongs to `owner`.

        Returns the lead, which never has two owners.
        """

    async def held(self) -> Lead:
        """Return the current lead; `owner` is None if it has expired."""

    async def resign(self, owner: str) -> None:
        """Give up the lead if it belongs to `owner`, so that the next caller of `lead` gets it at once."""
