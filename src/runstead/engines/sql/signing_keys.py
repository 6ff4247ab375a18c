"""Private keys for signing."""

from collections.abc import Sequence

from runstead.core import limits
from runstead.core.identity.signing_key import SigningKey
from runstead.engines.sql.steps import Database, LockSpace, Steps, execute, lock, select


class SqlSigningKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SigningKey]:
        return await self._database.read(select, "signing_keys", SigningKey)

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        def add(_now: int) -> Steps[list[SigningKey]]:
            # Replicas that start together create one set of keys.
            yield from lock(LockSpace.SIGNING_KEYS, ["all"])
            stored = yield from select("signing_keys", SigningKey)
            if stored and only_first:
                return stored
            for key in keys:
                yield from execute("add_signing_key", key)
            for algorithm in {key.algorithm for key in keys}:
                yield from execute("drop_signing_keys", algorithm=algorithm, kept=limits.signing_keys_max)
            return (yield from select("signing_keys", SigningKey))

        return await self._database.write(add)
