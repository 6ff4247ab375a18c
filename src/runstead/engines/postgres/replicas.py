"""The servers of a PostgreSQL database, and what is queued in it."""

from collections.abc import Sequence

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.replica import Replica
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import CLOCK, Q
from runstead.ports.store import Depth

_silence_ms = limits.replica_silence_s * 1000


class PostgresReplicas:
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def note(self, replica: Replica) -> Replica:
        async def job(connection: Connection, now: int) -> Replica:
            await connection.execute(Q["forget_replicas"], now - _silence_ms)
            seen = replace(replica, started_at=now, seen_at=now)
            started_at = await connection.fetchval(Q["note_replica"], *astuple(seen))
            return replace(seen, started_at=started_at)

        return await self._writer.do(job)

    async def all(self) -> list[Replica]:
        rows = await self._readers.rows(Q["replicas"])
        found = [(self._clock.tick(told), Replica(*values)) for told, *values in rows]
        return [replica for now, replica in found if replica.seen_at > now - _silence_ms]

    async def leave(self, replica_id: str) -> None:
        async def job(connection: Connection, _now: int) -> None:
            await connection.execute(Q["leave_replica"], replica_id)

        await self._writer.do(job)


class PostgresStatistics:
    def __init__(self, readers: Readers, clock: Clock) -> None:
        self._readers = readers
        self._clock = clock

    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        async def read(connection: Connection) -> list[Depth]:
            now = self._clock.tick(await connection.fetchval(f"SELECT {CLOCK}"))
            return [Depth(*row) for row in await connection.fetch(Q["depths"], list(project_ids), now, most)]

        return await self._readers.do(read)
