"""Browsers that are signed in."""

from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.core.identity.browser_session import BrowserSession

DecideSession = Callable[[int], BrowserSession]
"""(now) → the session to store."""


class BrowserSessions(Protocol):
    """A session that has expired by the engine's clock is shown nowhere, whether it was pruned already or not."""

    async def add(self, decide: DecideSession) -> BrowserSession:
        """Store it. Of one identity the newest `limits.browser_sessions_max` are kept."""
        ...

    async def by_hash(self, digest: bytes) -> BrowserSession | None: ...

    async def of(self, identity: str) -> list[BrowserSession]:
        """Newest first."""
        ...

    async def touch(self, ids: Sequence[str]) -> None:
        """They count as seen now; unknown ones are passed over."""
        ...

    async def remove(self, session_id: str, identity: str) -> bool:
        """Whether the identity had it."""
        ...

    async def remove_all(self, identity: str) -> int:
        """How many there were, expired ones that nobody pruned included."""
        ...

    async def prune(self, limit: int) -> int:
        """Drop at most `limit` that have expired; how many."""
        ...
