"""The lead among the processes that serve one SQLite file."""

import sqlite3
from collections.abc import Callable

from msgspec.structs import astuple

from runstead.core.leadership import Lead, elect, resign, unexpired
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


class SqliteLeadership:
    def __init__(self, writer: Writer, readers: Readers, clock: Callable[[], int]) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        return await self._change(lambda held: elect(held, owner, lease_ms, self._clock()))

    async def held(self) -> Lead:
        def read(connection: sqlite3.Connection) -> Lead:
            row = connection.execute(Q["lead"]).fetchone()
            return Lead() if row is None else unexpired(Lead(*row), self._clock())

        return await self._readers.do(read)

    async def resign(self, owner: str) -> None:
        await self._change(lambda held: resign(held, owner))

    async def _change(self, decide: Callable[[Lead], Lead]) -> Lead:
        def job(connection: sqlite3.Connection, _now: int) -> Lead:
            row = connection.execute(Q["lead"]).fetchone()
            held = Lead() if row is None else Lead(*row)
            new = decide(held)
            if new != held:
                connection.execute(Q["put_lead"], astuple(new))
            return new

        return await self._writer.do(job)
