"""A clock that stands still until a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from runstead.core.clock import to_ms

#: Shorter sleeps of a worker only collect events. With this clock they take no time.
_COLLECT_S: Final = 0.1


class _Sleeper(NamedTuple):
    at: int
    by_handler: bool
    woken: "asyncio.Future[None]"


class Clock:
    """The time of a server, a worker and its handlers."""

    def __init__(self, start: datetime) -> None:
        self.ms = to_ms(start)
        self._sleepers: list[_Sleeper] = []
        #: Set while a handler sleeps.
        self.handler_sleeps = asyncio.Event()

    def __call__(self) -> int:
        return self.ms

    def now(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ms)

    def seconds(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        """Sleep for the worker. The clock is not moved for this sleep."""
        if seconds < _COLLECT_S:
            await asyncio.sleep(0)
        else:
            await self._sleep(seconds, by_handler=False)

    async def handler_sleep(self, seconds: float) -> None:
        """Sleep for a handler. The testbed moves the clock to the end of this sleep."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._sleep(seconds, by_handler=True)

    async def _sleep(self, seconds: float, *, by_handler: bool) -> None:
        woken = asyncio.get_running_loop().create_future()
        sleeper = _Sleeper(self.ms + max(1, round(seconds * 1000)), by_handler, woken)
        self._sleepers.append(sleeper)
        if by_handler:
            self.handler_sleeps.set()
        try:
            await woken
        finally:
            self._sleepers.remove(sleeper)
            if not any(one.by_handler for one in self._sleepers):
                self.handler_sleeps.clear()

    def handler_wakes_at(self) -> int | None:
        """Return when the first sleeping handler wakes, None where none sleeps."""
        times = (one.at for one in self._sleepers if one.by_handler and not one.woken.done())
        return min(times, default=None)

    def move_to(self, ms: int) -> None:
        """Move the clock forward, and wake the sleepers whose time has come."""
        self.ms = max(self.ms, ms)
        for one in self._sleepers:
            if one.at <= self.ms and not one.woken.done():
                one.woken.set_result(None)
