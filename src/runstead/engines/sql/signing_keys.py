"""Private keys for signing."""

from collections.abc import Sequence

from runstead.core import limits
from runstead.core.identity.signing_key import SigningKey
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import LockSpace, Steps, execute, lock, select


class SqlSigningKeys(SqlNoun):
    async def all(self) -> list[SigningKey]:
        return await self._database.read(select, "signing_keys", SigningKey)

    @command
    def add(self, _now: int, keys: Sequence[SigningKey], *, only_first: bool) -> Steps[list[SigningKey]]:
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
