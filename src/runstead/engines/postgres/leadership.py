"""The session for leader election."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from runstead.core.idempotency import Idempotency
from runstead.engines.postgres.commit.pool import Pool
from runstead.engines.postgres.connection import BROKEN, connect, trouble_with
from runstead.engines.postgres.readers import retried
from runstead.engines.postgres.sql import DIALECT
from runstead.engines.sql.postgres_driver import PostgresDriver
from runstead.engines.sql.steps import Steps

P = ParamSpec("P")
T = TypeVar("T")


class LeadershipDatabase:
    """A separate session, so that leader election never waits for runs. Each statement is a transaction."""

    def __init__(self, url: str, clock: Callable[[], int] | None) -> None:
        """`clock`: the time in ms for tests, instead of the database's."""
        self._pool = Pool(lambda: connect(url), 1)
        self._driver = PostgresDriver(DIALECT, lambda time: time if clock is None else clock())

    async def read(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the session. A broken session is replaced once."""
        try:
            return await retried(self._pool, lambda c: self._driver.run(c, steps(*args, **kwargs)))
        except BROKEN as error:
            raise trouble_with(error, "find the leader") from error

    async def write(
        self, command: Callable[[int], Steps[T]], idempotency: Idempotency = None, *, quick: bool = False
    ) -> T:
        """Run a command, which reads the time from the database."""
        assert idempotency is None
        del quick
        return await self.read(command, 0)

    async def close(self) -> None:
        await self._pool.close()
