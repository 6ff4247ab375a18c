"""A clock that stands still until it is moved."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from runstead.core.clock import to_ms

#: Shorter sleeps of a worker collect things: here nothing is worth waiting for.
_MOMENT_S: Final = 0.1


class _Sleeper(NamedTuple):
    at: int
    nap: bool
    woken: "asyncio.Future[None]"


class Clock:
    """Time for a server, a worker and its handlers alike."""

    def __init__(self, start: datetime) -> None:
        self.ms = to_ms(start)
        self._sleepers: list[_Sleeper] = []
        #: Set while a handler sleeps.
        self.napped = asyncio.Event()

    def __call__(self) -> int:
        return self.ms

    def now(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ms)

    def seconds(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        """A worker's own: until the clock has come there for another reason."""
        if seconds < _MOMENT_S:
            await asyncio.sleep(0)
        else:
            await self._until(seconds, nap=False)

    async def nap(self, seconds: float) -> None:
        """A handler's: whoever waits for the handler moves the clock there."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._until(seconds, nap=True)

    async def _until(self, seconds: float, *, nap: bool) -> None:
        woken = asyncio.get_running_loop().create_future()
        sleeper = _Sleeper(self.ms + max(1, round(seconds * 1000)), nap, woken)
        self._sleepers.append(sleeper)
        if nap:
            self.napped.set()
        try:
            await woken
        finally:
            self._sleepers.remove(sleeper)
            if not any(one.nap for one in self._sleepers):
                self.napped.clear()

    def nap_ends(self) -> int | None:
        """When the first handler that sleeps wakes."""
        return min((one.at for one in self._sleepers if one.nap and not one.woken.done()), default=None)

    def move_to(self, ms: int) -> None:
        """Never back. Whoever sleeps until then wakes."""
        self.ms = max(self.ms, ms)
        for one in self._sleepers:
            if one.at <= self.ms and not one.woken.done():
                one.woken.set_result(None)
