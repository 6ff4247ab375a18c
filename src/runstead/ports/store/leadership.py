"""The lead among replicas."""

from typing import Protocol

from runstead.core.leadership import Lead


class Leadership(Protocol):
    """One lead for the whole store, by `leadership.elect` and the store's clock as it is told, were it set back or not.
    Whatever becomes of a caller, asking and giving up keep no lock that anybody else would have to wait for.
    """

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        """Take the lead or renew it, where it is free or the owner's; who has it then. Never have two owners one."""
        ...

    async def held(self) -> Lead:
        """Who has it; nobody (`owner` is None) where it has run out."""
        ...

    async def resign(self, owner: str) -> None:
        """Give it up, where it is the owner's: the next one that asks has it at once."""
        ...
