"""Sessions of signed-in browsers."""

from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.core.identity.browser_session import BrowserSession

DecideSession = Callable[[int], BrowserSession]
"""(now) → the session to store."""


class BrowserSessions(Protocol):
    """Expired sessions, by the engine's clock, are never returned, even before they are deleted."""

    async def add(self, decide: DecideSession) -> BrowserSession:
        """Store a session. The newest `limits.browser_sessions_max` sessions of an identity are kept."""

    async def by_hash(self, digest: bytes) -> BrowserSession | None: ...

    async def of(self, identity: str) -> list[BrowserSession]:
        """Return the sessions of the identity, newest first."""

    async def touch(self, ids: Sequence[str]) -> None:
        """Record that the sessions were used now. Unknown ids are ignored."""

    async def remove(self, session_id: str, identity: str) -> bool:
        """Delete a session of the identity. Returns whether it existed."""

    async def remove_all(self, identity: str) -> int:
        """Delete all sessions of the identity. Returns their number, including expired sessions."""

    async def prune(self, limit: int) -> int:
        """Delete at most `limit` expired sessions. Returns their number."""
