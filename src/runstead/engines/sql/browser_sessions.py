"""Sessions of browsers that are signed in."""

from collections.abc import Sequence

from runstead.core import limits
from runstead.core.identity.browser_session import BrowserSession
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import Steps, changed, execute, select, select_timed
from runstead.ports.store import DecideSession


class SqlBrowserSessions(SqlNoun):
    @command
    def add(self, now: int, decide: DecideSession) -> Steps[BrowserSession]:
        session = decide(now)
        yield from execute("add_browser_session", session)
        yield from execute(
            "trim_browser_sessions", identity=session.identity, kept=limits.browser_sessions_max
        )
        yield from changed(None, session)
        return session

    async def by_hash(self, digest: bytes) -> BrowserSession | None:
        found = await self._database.read(_unexpired, "browser_session_by_hash", hash=digest)
        return found[0] if found else None

    async def of(self, identity: str) -> list[BrowserSession]:
        return await self._database.read(_unexpired, "browser_sessions_of", identity=identity)

    async def touch(self, ids: Sequence[str]) -> None:
        await self._database.write(lambda now: execute("touch_browser_sessions", ids=sorted(ids), now=now))

    @command
    def remove(self, _now: int, session_id: str, identity: str) -> Steps[bool]:
        return (yield from _removed("remove_browser_session", id=session_id, identity=identity)) == 1

    async def remove_all(self, identity: str) -> int:
        return await self._database.write(lambda _now: _removed("remove_browser_sessions", identity=identity))

    async def prune(self, limit: int) -> int:
        return await self._database.write(lambda now: execute("prune_browser_sessions", now=now, limit=limit))


def _removed(statement: str, **arguments: str) -> Steps[int]:
    """Delete sessions. Returns their number."""
    sessions = yield from select(statement, BrowserSession, **arguments)
    for session in sessions:
        yield from changed(session, None)
    return len(sessions)


def _unexpired(statement: str, **arguments: str | bytes) -> Steps[list[BrowserSession]]:
    rows = yield from select_timed(statement, BrowserSession, **arguments)
    return [session for now, session in rows if session.expires_at > now]
