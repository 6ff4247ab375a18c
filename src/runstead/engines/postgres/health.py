"""The check behind `/readyz`, on a session of its own, so that it waits for no caller's transaction."""

import asyncio
from typing import Final

from runstead.core.errors import Error
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.group import GroupCommit
from runstead.engines.postgres.commit.jobs import run_again
from runstead.engines.postgres.commit.transaction import Clock, Transaction, Transactions
from runstead.engines.postgres.connection import BROKEN, trouble_with
from runstead.engines.postgres.sql import Q

#: Fails with a lock timeout while no run can be written, for example because of a migration.
_WRITABLE: Final = "LOCK TABLE runs, ONLY run_events IN ROW EXCLUSIVE MODE"


class Health:
    def __init__(self, url: str, clock: Clock, group_commit: GroupCommit) -> None:
        self._transactions = Transactions(url, clock, 1)
        self._group_commit = group_commit
        self._checking: asyncio.Task[None] | None = None

    @property
    def commits(self) -> int:
        return self._transactions.commits

    async def check(self) -> None:
        """Raise STORE_UNAVAILABLE if the store cannot commit. Callers at the same time share one check."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check())
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        stuck_s = self._group_commit.stuck_s()
        if stuck_s > session_limits.write_stuck_s:
            raise Error("STORE_UNAVAILABLE", f"Writes have waited for {stuck_s:.0f} s", retry_after_s=1)
        try:
            await run_again(self._transactions, _write)
        except BROKEN as trouble:
            raise trouble_with(trouble, "commit, so nothing was stored") from trouble

    async def close(self) -> None:
        await self._transactions.close()


async def _write(transaction: Transaction) -> None:
    """Write a row: an empty transaction succeeds even on a full disk or a standby."""
    now = await transaction.moment()
    await transaction.connection.execute(_WRITABLE)
    await transaction.connection.execute(Q["pulse"], now)
