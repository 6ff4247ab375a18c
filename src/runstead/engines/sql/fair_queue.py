"""A queue that is first in, first out while it is short, and then serves tenants round robin."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from runstead.core.errors import Error
from runstead.core.identity.tenant import SERVER, tenant

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Up to `short` items keep their order and cost no more than in a deque. Of those behind them, each tenant gets one
    turn after the other. `tenant_max`: how many of one tenant wait behind the first.
    """

    __slots__ = ("_first", "_lanes", "_ring", "_short", "_tenant_max")

    def __init__(self, short: int, tenant_max: int) -> None:
        self._short = short
        self._tenant_max = tenant_max
        self._first: deque[T] = deque()
        self._lanes: dict[str, deque[T]] = {}
        self._ring: deque[str] = deque()  # the tenants of the lanes, the next one first

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._lanes.values()))

    def __bool__(self) -> bool:
        return bool(self._first or self._ring)

    @property
    def head(self) -> T:
        """The next item. The queue is not empty."""
        return self._first[0] if self._first else self._lanes[self._ring[0]][0]

    def append(self, item: T) -> None:
        """Add an item of the current tenant. PROJECT_BUSY if too many of them wait."""
        if not self._ring and len(self._first) < self._short:
            self._first.append(item)
            return
        name = tenant.get()
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = deque()
            self._ring.append(name)
        elif len(lane) >= self._tenant_max and name != SERVER:
            raise Error(
                "PROJECT_BUSY",
                "Too many writes of this project are waiting: send fewer at a time",
                retry_after_s=1,
            )
        lane.append(item)

    def take(self, most: int) -> list[T]:
        """Remove and return the next items."""
        first, ring = self._first, self._ring
        taken = [first.popleft() for _ in range(min(len(first), most))]
        while ring and len(taken) < most:
            name = ring.popleft()
            lane = self._lanes[name]
            taken.append(lane.popleft())
            if lane:
                ring.append(name)
            else:
                del self._lanes[name]
        return taken

    def put_back(self, items: Iterable[T]) -> None:
        """Return items that were taken last to the front."""
        self._first.extendleft(reversed([*items]))
