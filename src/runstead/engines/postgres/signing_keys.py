"""Private keys for signing, in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.identity.signing_key import SigningKey
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import SIGNING_KEYS, Q


class PostgresSigningKeys:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def all(self) -> list[SigningKey]:
        return [SigningKey(*row) for row in await self._readers.rows(Q["signing_keys"])]

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        async def job(connection: Connection, _now: int) -> list[SigningKey]:
            # Replicas that start together make one set of keys between them.
            await connection.execute(Q["lock_names"], SIGNING_KEYS, ["all"])
            there = await connection.fetch(Q["signing_keys"])
            if not (there and only_first):
                for key in keys:
                    await connection.execute(Q["add_signing_key"], *astuple(key))
                for algorithm in {key.algorithm for key in keys}:
                    await connection.execute(Q["drop_signing_keys"], algorithm, limits.signing_keys_max)
                there = await connection.fetch(Q["signing_keys"])
            return [SigningKey(*row) for row in there]

        return await self._writer.do(job)
