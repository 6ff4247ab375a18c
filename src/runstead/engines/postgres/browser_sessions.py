"""Browsers that are signed in, in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.identity.browser_session import BrowserSession
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q
from runstead.ports.store import DecideSession


class PostgresBrowserSessions:
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def add(self, decide: DecideSession) -> BrowserSession:
        async def job(connection: Connection, now: int) -> BrowserSession:
            session = decide(now)
            await connection.execute(Q["add_browser_session"], *astuple(session))
            await connection.execute(
                Q["trim_browser_sessions"], session.identity, limits.browser_sessions_max
            )
            return session

        return await self._writer.do(job)

    async def by_hash(self, digest: bytes) -> BrowserSession | None:
        found = await self._many("browser_session_by_hash", digest)
        return found[0] if found else None

    async def of(self, identity: str) -> list[BrowserSession]:
        return await self._many("browser_sessions_of", identity)

    async def _many(self, query: str, key: bytes | str) -> list[BrowserSession]:
        rows = await self._readers.rows(Q[query], key)
        found = [(self._clock.tick(told), BrowserSession(*values)) for told, *values in rows]
        return [session for now, session in found if session.expires_at > now]

    async def touch(self, ids: Sequence[str]) -> None:
        async def job(connection: Connection, now: int) -> None:
            await connection.execute(Q["touch_browser_sessions"], sorted(ids), now)

        await self._writer.do(job)

    async def remove(self, session_id: str, identity: str) -> bool:
        return await self._count("remove_browser_session", session_id, identity) == 1

    async def remove_all(self, identity: str) -> int:
        return await self._count("remove_browser_sessions", identity)

    async def prune(self, limit: int) -> int:
        async def job(connection: Connection, now: int) -> int:
            return int(await connection.fetchval(Q["prune_browser_sessions"], now, limit))

        return await self._writer.do(job)

    async def _count(self, query: str, *arguments: str) -> int:
        async def job(connection: Connection, _now: int) -> int:
            return int(await connection.fetchval(Q[query], *arguments) or 0)

        return await self._writer.do(job)
