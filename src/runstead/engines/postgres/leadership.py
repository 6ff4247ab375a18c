"""The lead among replicas, in one row of PostgreSQL."""

from collections.abc import Awaitable, Callable

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.leadership import Lead, elect, resign, unexpired
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import (
    BROKEN,
    Connection,
    NoSessionError,
    connect,
    is_lost,
    trouble_with,
)
from runstead.engines.postgres.sql import Q


class PostgresLeadership:
    """A session of its own, so that the lead does not wait behind runs. The row is read, and then written under the
    condition that it is still as it was read, each in one statement: a replica that stands still in between holds no
    lock that would keep the others from electing somebody.
    """

    def __init__(self, url: str, clock: Callable[[], int] | None) -> None:
        self._pool = Pool(lambda: connect(url), 1)
        self._clock = clock

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        return await self._change(lambda held, now: elect(held, owner, lease_ms, now))

    async def held(self) -> Lead:
        return await self._asked(self._in_office)

    async def resign(self, owner: str) -> None:
        await self._change(lambda held, _now: resign(held, owner))

    async def close(self) -> None:
        await self._pool.close()

    async def _change(self, decide: Callable[[Lead, int], Lead]) -> Lead:
        return await self._asked(lambda connection: self._decided(connection, decide))

    async def _asked(self, work: Callable[[Connection], Awaitable[Lead]]) -> Lead:
        try:
            try:
                return await self._once(work)
            except BROKEN as trouble:
                if not is_lost(trouble) or isinstance(trouble, NoSessionError):
                    raise
                self._pool.drop_idle()
                return await self._once(work)
        except BROKEN as trouble:
            raise trouble_with(trouble, "tell who leads") from trouble

    async def _once(self, work: Callable[[Connection], Awaitable[Lead]]) -> Lead:
        async with self._pool.session() as connection:
            return await work(connection)

    async def _in_office(self, connection: Connection) -> Lead:
        return unexpired(*await self._read(connection))

    async def _decided(self, connection: Connection, decide: Callable[[Lead, int], Lead]) -> Lead:
        for _ in range(limits.race_retries_max):
            held, now = await self._read(connection)
            new = decide(held, now)
            if new == held or await connection.fetchval(Q["put_lead"], *astuple(new), *astuple(held)):
                return new
        raise Error("STORE_UNAVAILABLE", "Other replicas changed the lead again and again", retry_after_s=1)

    async def _read(self, connection: Connection) -> tuple[Lead, int]:
        now, *values = await connection.fetchrow(Q["lead"])
        # Not `transaction.Clock`, which never goes back: a lead must run out also where the database's clock was set back.
        return Lead() if values[0] is None else Lead(*values), now if self._clock is None else self._clock()
