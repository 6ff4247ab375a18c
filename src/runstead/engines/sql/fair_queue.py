"""A queue that is first in, first out while it is short, and then serves tenants round robin."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from runstead.core.errors import Error
from runstead.core.identity.tenant import SERVER, tenant

T = TypeVar("T")


class FairQueue(Generic[T]):
    """The first `short` items are kept in order, at the cost of a deque. Items behind them are taken round robin from
    their tenants. `tenant_max`: how many items of one tenant may wait there.
    """

    __slots__ = ("_first", "_queues", "_ring", "_short", "_tenant_max")

    def __init__(self, short: int, tenant_max: int) -> None:
        self._short = short
        self._tenant_max = tenant_max
        self._first: deque[T] = deque()
        self._queues: dict[str, deque[T]] = {}
        self._ring: deque[str] = deque()  # the tenants of the queues, the next one first

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._queues.values()))

    def __bool__(self) -> bool:
        return bool(self._first or self._ring)

    @property
    def head(self) -> T:
        """The next item. The queue is not empty."""
        return self._first[0] if self._first else self._queues[self._ring[0]][0]

    def ahead(self) -> int:
        """How many items are taken before a new one of the current tenant."""
        ring = self._ring
        if not ring:
            return len(self._first)
        of_tenant = self._queues.get(tenant.get())
        return len(self._first) + (1 if of_tenant is None else len(of_tenant)) * len(ring)

    def append(self, item: T) -> None:
        """Add an item of the current tenant. PROJECT_BUSY if too many of them wait."""
        if not self._ring and len(self._first) < self._short:
            self._first.append(item)
            return
        name = tenant.get()
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = deque()
            self._ring.append(name)
        elif len(queue) >= self._tenant_max and name != SERVER:
            raise Error(
                "PROJECT_BUSY",
                "Too many writes of this project are waiting: send fewer at a time",
                retry_after_s=1,
            )
        queue.append(item)

    def take(self, most: int) -> list[T]:
        """Remove and return the next items."""
        first, ring = self._first, self._ring
        taken = [first.popleft() for _ in range(min(len(first), most))]
        while ring and len(taken) < most:
            name = ring.popleft()
            queue = self._queues[name]
            taken.append(queue.popleft())
            if queue:
                ring.append(name)
            else:
                del self._queues[name]
        return taken

    def put_back(self, items: Iterable[T]) -> None:
        """Return items that were taken last to the front."""
        self._first.extendleft(reversed([*items]))
