"""Deleted runs whose artifacts are still to be removed, in SQLite. A trigger puts them there."""

import sqlite3
from collections.abc import Sequence

from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


class SqliteArtifactTombstones:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def some(self, limit: int) -> list[str]:
        def job(connection: sqlite3.Connection) -> list[str]:
            return [uid for (uid,) in connection.execute(Q["discards"], (limit,))]

        return await self._readers.do(job)

    async def drop(self, uids: Sequence[str]) -> None:
        def job(connection: sqlite3.Connection, _now: int) -> None:
            connection.executemany(Q["drop_discard"], [(uid,) for uid in uids])

        await self._writer.do(job)
