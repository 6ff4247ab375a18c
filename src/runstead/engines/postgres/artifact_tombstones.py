"""Deleted runs whose artifacts are still to be removed, in PostgreSQL. A trigger puts them there."""

from collections.abc import Sequence

from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q


class PostgresArtifactTombstones:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def some(self, limit: int) -> list[str]:
        return [row[0] for row in await self._readers.rows(Q["discards"], limit)]

    async def drop(self, uids: Sequence[str]) -> None:
        async def job(connection: Connection, _now: int) -> None:
            await connection.execute(Q["drop_discards"], list(uids))

        await self._writer.do(job)
