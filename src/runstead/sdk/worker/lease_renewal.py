"""Renews the leases of a worker: one loop for all of them, each renewed after a third of its length."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.lease import ClaimedRun

logger = logging.getLogger("runstead.sdk.worker.worker")

#: Error codes that mean that this attempt can no longer write to the run.
LOSSES: Final = frozenset({"ATTEMPT_SUPERSEDED", "RUN_NOT_ACTIVE", "EVENT_RUN_TERMINAL", "NOT_FOUND"})


@dataclass(eq=False, slots=True)
class HeldLease:
    """`ends_at` is when the lease ends unless it is renewed, by the worker's clock.

    `on_lost` is called once, with the reason. `again`: renew it again after the call under way.
    """

    run: ClaimedRun
    on_lost: Callable[[str], None]
    ends_at: float
    renewing: "asyncio.Task[None] | None" = None
    again: bool = False


class Renewals:
    """Renews leases until the server reports that one is lost, or until its end passes without a renewal."""

    def __init__(
        self,
        client: AsyncClient,
        lease_s: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """`client` uses the original credential. `clock` returns monotonic seconds."""
        self._client = client
        self._lease_s = lease_s
        self._clock = clock
        self._sleep = sleep
        # When each lease is due for renewal. All have the same interval, so the dict is in the order of due times.
        self._due: dict[HeldLease, float] = {}
        self._held: dict[str, HeldLease] = {}  # by run, the latest attempt
        self._waiting: asyncio.Task[None] | None = None

    def hold(self, run: ClaimedRun, on_lost: Callable[[str], None]) -> HeldLease:
        """Renew the lease of a run that was just claimed, until `drop`."""
        lease = HeldLease(run, on_lost, self._clock() + self._lease_s)
        self._held[run.run_id] = lease
        self._renew_later(lease)
        return lease

    def drop(self, lease: HeldLease) -> None:
        self._due.pop(lease, None)
        if self._held.get(lease.run.run_id) is lease:
            del self._held[lease.run.run_id]
        if lease.renewing is not None:
            lease.renewing.cancel()

    def renew_now(self, run_id: str | None = None) -> None:
        """Renew the lease of a run, or all, before they are due, to learn whether the attempts still have their runs."""
        for lease in list(self._held.values()) if run_id is None else [self._held.get(run_id)]:
            if lease is None:
                continue
            if self._due.pop(lease, None) is None:
                lease.again = True
            else:
                lease.renewing = asyncio.ensure_future(self._renew(lease))

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _renew_later(self, lease: HeldLease) -> None:
        self._due[lease] = self._clock() + self._lease_s / 3
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        """Start the renewal of each lease when it is due."""
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
            sent_at = self._clock()
            heartbeat = asyncio.ensure_future(
                self._client.runs.heartbeat(
                    lease.run.run_id,
                    lease.run.attempt,
                    lease_duration_seconds=self._lease_s,
                    lease_token=lease.run.lease_token,
                )
            )
            await wait_at_most(lease.ends_at - sent_at, heartbeat, self._sleep)
            error = heartbeat.exception() if heartbeat.done() and not heartbeat.cancelled() else None
            if heartbeat.done() and not heartbeat.cancelled() and error is None:
                if not heartbeat.result().held:
                    return lease.on_lost("it was ended by a client")
                lease.ends_at = sent_at + self._lease_s
                if lease.again:
                    lease.again = False
                    continue
                lease.renewing = None
                return self._renew_later(lease)
            if isinstance(error, RunsteadError) and error.code in LOSSES:
                return lease.on_lost(error.detail)
            if self._clock() >= lease.ends_at:
                return lease.on_lost("its lease could not be renewed in time")
            logger.warning("The lease of run %s was not renewed: %s", lease.run.run_id, error)
            await self._sleep(min(self._lease_s / 10, max(lease.ends_at - self._clock(), 0.0)))


async def wait_at_most(
    seconds: float, work: "asyncio.Future[Any]", sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Wait for the work, and cancel it after this many seconds."""
    timer = asyncio.ensure_future(sleep(max(seconds, 0.0)))
    try:
        await asyncio.wait([work, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        if not work.done():
            work.cancel()
        elif not work.cancelled():
            work.exception()  # retrieved, so that asyncio does not log it when the caller is being cancelled
