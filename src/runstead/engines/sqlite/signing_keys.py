"""Private keys for signing, in SQLite."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.identity.signing_key import SigningKey
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer


def _all(connection: sqlite3.Connection) -> list[SigningKey]:
    return [SigningKey(*row) for row in connection.execute(Q["signing_keys"])]


class SqliteSigningKeys:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def all(self) -> list[SigningKey]:
        return await self._readers.do(_all)

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        def job(connection: sqlite3.Connection, _now: int) -> list[SigningKey]:
            there = _all(connection)
            if there and only_first:
                return there
            connection.executemany(Q["add_signing_key"], [astuple(key) for key in keys])
            for algorithm in {key.algorithm for key in keys}:
                connection.execute(Q["drop_signing_keys"], (algorithm, limits.signing_keys_max))
            return _all(connection)

        return await self._writer.do(job)
