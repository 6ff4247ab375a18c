"""The leases that a worker holds: one loop looks after all of them, each is renewed at a third of its length."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.lease import ClaimedRun

logger = logging.getLogger("runstead.sdk.worker.worker")

#: Answers that mean: this attempt writes nothing to this run any more.
LOSSES: Final = frozenset({"ATTEMPT_SUPERSEDED", "RUN_NOT_ACTIVE", "EVENT_RUN_TERMINAL", "NOT_FOUND"})


@dataclass(eq=False, slots=True)
class HeldLease:
    """`until` is when it ends unless it is renewed, by the worker's clock. `lost` is called once, with the reason."""

    run: ClaimedRun
    lost: Callable[[str], None]
    until: float
    renewing: "asyncio.Task[None] | None" = None


class Renewals:
    """Keeps leases until the server says that one is lost, or until it can no longer be known to be held."""

    def __init__(
        self,
        client: AsyncClient,
        lease_s: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """`client` carries the original credential. `clock` answers seconds that only grow."""
        self._client = client
        self._lease_s = lease_s
        self._clock = clock
        self._sleep = sleep
        # When each is due. All are renewed after the same time, so those that came first are due first.
        self._due: dict[HeldLease, float] = {}
        self._waiting: asyncio.Task[None] | None = None

    def hold(self, run: ClaimedRun, lost: Callable[[str], None]) -> HeldLease:
        """Renew the lease of a run that was claimed just now, until `drop`."""
        lease = HeldLease(run, lost, self._clock() + self._lease_s)
        self._renew_later(lease)
        return lease

    def drop(self, lease: HeldLease) -> None:
        self._due.pop(lease, None)
        if lease.renewing is not None:
            lease.renewing.cancel()

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _renew_later(self, lease: HeldLease) -> None:
        self._due[lease] = self._clock() + self._lease_s / 3
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        """Begin to renew each lease when it is due, all that are due at a time."""
        while self._due:
            await self._sleep(max(next(iter(self._due.values())) - self._clock(), 0.0))
            now = self._clock()
            while self._due:
                lease, due = next(iter(self._due.items()))
                if due > now:
                    break
                del self._due[lease]
                lease.renewing = asyncio.ensure_future(self._renew(lease))
        self._waiting = None

    async def _renew(self, lease: HeldLease) -> None:
        while True:
            asked_at = self._clock()
            beat = asyncio.ensure_future(
                self._client.heartbeat(
                    lease.run.run_id,
                    lease.run.attempt,
                    lease_duration_seconds=self._lease_s,
                    lease_token=lease.run.lease_token,
                )
            )
            await within(lease.until - asked_at, beat, self._sleep)
            error = beat.exception() if beat.done() and not beat.cancelled() else None
            if beat.done() and not beat.cancelled() and error is None:
                if not beat.result().held:
                    return lease.lost("it was ended from outside")
                lease.until = asked_at + self._lease_s
                lease.renewing = None
                return self._renew_later(lease)
            if isinstance(error, RunsteadError) and error.code in LOSSES:
                return lease.lost(error.detail)
            if self._clock() >= lease.until:
                return lease.lost("its lease could not be renewed in time")
            logger.warning("The lease of run %s was not renewed: %s", lease.run.run_id, error)
            await self._sleep(min(self._lease_s / 10, max(lease.until - self._clock(), 0.0)))


async def within(
    seconds: float, work: "asyncio.Future[Any]", sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Wait for it, but no longer than this: then it is cancelled."""
    timer = asyncio.ensure_future(sleep(max(seconds, 0.0)))
    try:
        await asyncio.wait([work, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        if not work.done():
            work.cancel()
        elif not work.cancelled():
            work.exception()  # seen, also where whoever waits for it is being cancelled just now
