"""Slots that tenants share: a tenant holds a bounded number of them, and freed slots are given round robin."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from runstead.core.errors import Error


class Bounds(NamedTuple):
    """How many tasks work at once, in total and of one tenant; how many wait, and how long."""

    slots: int
    slots_per_tenant: int
    waiting: int
    waiting_per_tenant: int
    wait_s: float


class FairSlots:
    """`what` names the tasks in refusals, such as "queries"."""

    def __init__(self, bounds: Bounds, what: str) -> None:
        self._bounds = bounds
        self._what = what
        self._free = bounds.slots
        self._held: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # of the tenants that wait
        self._ring: deque[str] = deque()  # the same tenants, the next one first
        self.waiting = 0

    @property
    def size(self) -> int:
        return self._bounds.slots

    @property
    def used(self) -> int:
        """Slots that are held."""
        return self._bounds.slots - self._free

    @asynccontextmanager
    async def hold(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot of the tenant.

        Raises PROJECT_BUSY if the tenant has too many tasks that wait, or for too long; STORE_BUSY if all tenants
        together have too many.
        """
        if self._free and not self._queues.get(tenant) and self._held[tenant] < self._bounds.slots_per_tenant:
            self._take(tenant)
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._release(tenant)

    def _take(self, tenant: str) -> None:
        self._free -= 1
        self._held[tenant] += 1

    async def _wait(self, tenant: str) -> None:
        bounds = self._bounds
        if self.waiting >= bounds.waiting:
            raise Error("STORE_BUSY", f"Too many {self._what} are waiting", retry_after_s=1)
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._ring.append(tenant)
        if len(queue) >= bounds.waiting_per_tenant:
            raise self._tenant_busy()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(bounds.wait_s):
                await turn
        except BaseException as error:
            if not turn.cancelled():  # granted in the same moment
                self._release(tenant)
            elif turn in queue:
                queue.remove(turn)
                self.waiting -= 1
                if not queue:
                    self._forget(tenant)
            if isinstance(error, TimeoutError):
                raise self._tenant_busy() from None
            raise

    def _release(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        if self._ring:
            self._grant()

    def _grant(self) -> None:
        """Give free slots to the tenants that wait, one each before any gets a second."""
        for _ in range(len(self._ring)):
            if not self._free:
                return
            tenant = self._ring[0]
            self._ring.rotate(-1)
            if self._held[tenant] >= self._bounds.slots_per_tenant:
                continue
            queue = self._queues[tenant]
            while queue:
                turn = queue.popleft()
                self.waiting -= 1
                if not turn.cancelled():
                    turn.set_result(None)
                    self._take(tenant)
                    break
            if not queue:
                self._forget(tenant)

    def _forget(self, tenant: str) -> None:
        del self._queues[tenant]
        self._ring.remove(tenant)

    def _tenant_busy(self) -> Error:
        return Error(
            "PROJECT_BUSY",
            f"Too many {self._what} of this project are waiting: send fewer at the same time",
            retry_after_s=1,
        )
