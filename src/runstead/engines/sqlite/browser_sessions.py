"""Browsers that are signed in, in SQLite."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.identity.browser_session import BrowserSession
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import DecideSession


class SqliteBrowserSessions:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, decide: DecideSession) -> BrowserSession:
        def job(connection: sqlite3.Connection, now: int) -> BrowserSession:
            session = decide(now)
            connection.execute(Q["add_browser_session"], astuple(session))
            connection.execute(Q["trim_browser_sessions"], (session.identity, limits.browser_sessions_max))
            return session

        return await self._writer.do(job)

    async def by_hash(self, digest: bytes) -> BrowserSession | None:
        found = await self._many("browser_session_by_hash", digest)
        return found[0] if found else None

    async def of(self, identity: str) -> list[BrowserSession]:
        return await self._many("browser_sessions_of", identity)

    async def _many(self, query: str, key: bytes | str) -> list[BrowserSession]:
        given = (key, self._writer.now())
        return await self._readers.do(lambda c: [BrowserSession(*row) for row in c.execute(Q[query], given)])

    async def touch(self, ids: Sequence[str]) -> None:
        await self._writer.do(
            lambda c, now: c.executemany(Q["touch_browser_session"], [(now, one) for one in ids]).rowcount
        )

    async def remove(self, session_id: str, identity: str) -> bool:
        given = (session_id, identity)
        return await self._writer.do(lambda c, _: c.execute(Q["remove_browser_session"], given).rowcount == 1)

    async def remove_all(self, identity: str) -> int:
        return await self._writer.do(
            lambda c, _: c.execute(Q["remove_browser_sessions"], (identity,)).rowcount
        )

    async def prune(self, limit: int) -> int:
        return await self._writer.do(
            lambda c, now: c.execute(Q["prune_browser_sessions"], (now, limit)).rowcount
        )
