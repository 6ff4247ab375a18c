"""The servers of a SQLite file, and what is queued in it."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.replica import Replica
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Depth

_silence_ms = limits.replica_silence_s * 1000


class SqliteReplicas:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def note(self, replica: Replica) -> Replica:
        def job(connection: sqlite3.Connection, now: int) -> Replica:
            connection.execute(Q["forget_replicas"], (now - _silence_ms,))
            seen = replace(replica, started_at=now, seen_at=now)
            ((started_at,),) = connection.execute(Q["note_replica"], astuple(seen)).fetchall()
            return replace(seen, started_at=started_at)

        return await self._writer.do(job)

    async def all(self) -> list[Replica]:
        since = self._writer.now() - _silence_ms
        return await self._readers.do(lambda c: [Replica(*row) for row in c.execute(Q["replicas"], (since,))])

    async def leave(self, replica_id: str) -> None:
        await self._writer.do(lambda c, _: c.execute(Q["leave_replica"], (replica_id,)).rowcount)


class SqliteStatistics:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        now = self._writer.now()

        def read(connection: sqlite3.Connection) -> list[Depth]:
            return [
                Depth(*connection.execute(Q["depth"], (one, now, most)).fetchone()) for one in project_ids
            ]

        return await self._readers.do(read)
