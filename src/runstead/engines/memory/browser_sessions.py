"""Browsers that are signed in, in memory."""

from collections.abc import Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.identity.browser_session import BrowserSession
from runstead.engines.memory.journal import Effect, Journal
from runstead.ports.store import BrowserSessions, DecideSession


class MemoryBrowserSessions(BrowserSessions):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._sessions: dict[str, BrowserSession] = {}  # in order of creation

    def _drop(self, ids: Sequence[str]) -> int:
        def plan(_: int) -> tuple[int, Effect]:
            return len(ids), lambda: [self._sessions.pop(one) for one in ids]

        return self._journal.write(None, plan)

    def _ids_of(self, identity: str) -> list[str]:
        return [one.id for one in self._sessions.values() if one.identity == identity]

    async def add(self, decide: DecideSession) -> BrowserSession:
        def plan(now: int) -> tuple[BrowserSession, Effect]:
            session = decide(now)
            assert all(session.hash != one.hash for one in self._sessions.values()), session.id

            def keep() -> None:
                self._sessions[session.id] = session
                for old in self._ids_of(session.identity)[: -limits.browser_sessions_max]:
                    del self._sessions[old]

            return session, keep

        return self._journal.write(None, plan)

    async def by_hash(self, digest: bytes) -> BrowserSession | None:
        now = self._journal.now()
        live = (one for one in self._sessions.values() if one.expires_at > now)
        return next((one for one in live if one.hash == digest), None)

    async def of(self, identity: str) -> list[BrowserSession]:
        now = self._journal.now()
        own = (self._sessions[one] for one in self._ids_of(identity))
        return [one for one in own if one.expires_at > now][::-1]

    async def touch(self, ids: Sequence[str]) -> None:
        def plan(now: int) -> tuple[None, Effect]:
            seen = {
                one: replace(self._sessions[one], last_seen_at=now) for one in ids if one in self._sessions
            }
            return None, lambda: self._sessions.update(seen)

        self._journal.write(None, plan)

    async def remove(self, session_id: str, identity: str) -> bool:
        return self._drop([one for one in self._ids_of(identity) if one == session_id]) == 1

    async def remove_all(self, identity: str) -> int:
        return self._drop(self._ids_of(identity))

    async def prune(self, limit: int) -> int:
        now = self._journal.now()
        return self._drop([one.id for one in self._sessions.values() if one.expires_at <= now][:limit])
