"""Jobs: writes outside the group commit, each in its own transaction."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.tenant import SERVER, tenant
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.transaction import Clock, Transaction, Transactions, Work
from runstead.engines.postgres.connection import BROKEN, Connection, is_race, trouble_with
from runstead.ports.store import PoolUse

T = TypeVar("T")
Job = Callable[[Connection, int], Awaitable[T]]
"""(connection, now in ms) → result, inside a transaction. May run again: no other effects."""


async def run_again(transactions: Transactions, work: Work[T]) -> T:
    """Return the work's result. After a race with another transaction (a serialization failure, a deadlock, a row that both
    inserted) it runs again, after a pause that grows.
    """
    for attempt in range(limits.race_retries_max):
        try:
            return await transactions.run(work)
        except BROKEN as trouble:
            if not is_race(trouble):
                raise
            await asyncio.sleep(random.random() * 0.005 * (1 << attempt))  # noqa: S311 - no secret
    return await transactions.run(work)


class Writer:
    """Each tenant holds a few sessions at a time, and those that wait take turns. The server has sessions of its own."""

    def __init__(self, url: str, clock: Clock) -> None:
        of_server, of_tenants = session_limits.server_writers_max, session_limits.postgres_writers_max
        self._transactions = Transactions(url, clock, of_tenants + of_server)
        bounds = Bounds(
            slots=of_tenants,
            slots_per_tenant=session_limits.postgres_writers_per_project_max,
            waiting=limits.writer_queue_max,
            waiting_per_tenant=limits.writer_queue_per_project_max,
            wait_s=session_limits.session_wait_s,
        )
        self._slots = FairSlots(bounds, "writes")
        self._server_slots = FairSlots(
            bounds._replace(
                slots=of_server, slots_per_tenant=of_server, waiting_per_tenant=limits.writer_queue_max
            ),
            "writes",
        )
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False
        self.waiting = 0  # jobs not answered yet
        self.commands = 0

    @property
    def commits(self) -> int:
        return self._transactions.commits

    def pools(self) -> list[PoolUse]:
        named = {"writer": self._slots, "server_writer": self._server_slots}
        return [PoolUse(name, slots.size, slots.used, slots.waiting) for name, slots in named.items()]

    async def do(self, job: Job[T]) -> T:
        """Return the job's result once it is durable."""

        async def work(transaction: Transaction) -> T:
            return await job(transaction.connection, await transaction.moment())

        return await self.run(work)

    async def run(self, work: Work[T]) -> T:
        if self._closed:
            raise Error("SHUTTING_DOWN", "The store is closing", retry_after_s=1)
        if self.waiting >= limits.writer_queue_max:
            raise Error("STORE_BUSY", "Too many writes are waiting", retry_after_s=1)
        self.waiting += 1
        self._quiet.clear()
        try:
            name = tenant.get()
            async with (self._server_slots if name == SERVER else self._slots).hold(name):
                result = await run_again(self._transactions, work)
        except BROKEN as trouble:
            raise trouble_with(trouble, "commit, so nothing was stored") from trouble
        else:
            self.commands += 1
            return result
        finally:
            self.waiting -= 1
            if not self.waiting:
                self._quiet.set()

    async def close(self) -> None:
        """Finish the waiting jobs, then close the sessions."""
        self._closed = True
        await self._quiet.wait()
        await self._transactions.close()
