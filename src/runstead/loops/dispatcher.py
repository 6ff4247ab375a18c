"""Dispatches runs to push services, and stops cancelled runs there: many at a time, few for each
service, and a fair share for each project.
"""

import asyncio
from typing import Final

import structlog
from msgspec.structs import replace

from runstead.commands import dispatch
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.queue.fair_share import FairShare
from runstead.core.runs.run import Run
from runstead.loops.call_slots import CallSlots
from runstead.loops.loop import tick
from runstead.ports import metrics
from runstead.ports.notifier import PUSH_KEY, pause

log = structlog.get_logger(__name__)
grace_s: Final = 3.0


class Dispatcher:
    """Starts calls to push services: when a change notification arrives, and every `limits.dispatch_poll_s`.

    Every replica dispatches runs, because the store never gives a run to two of them. Only the leader stops
    runs, because all replicas find the same cancelled runs and one call is enough.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._wake = asyncio.Event()
        self._served = ""  # the last project that was served, for the round robin
        bounds = limits.dispatches_max, limits.dispatches_per_service_max
        self._pushes = CallSlots(*bounds, self._call_ended)
        self._stops = CallSlots(*bounds, self._call_ended)

    def _call_ended(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Run until the server stops.

        Active calls then get `grace_s` to end; a cancelled call is repeated later.
        """
        metrics.register_loop("dispatcher")
        with self._app.notifier.subscribe(PUSH_KEY) as wake:
            self._wake = wake
            while not self._app.stopping.is_set():
                wake.clear()
                await tick("dispatcher", self.tick)
                await pause(wake, limits.dispatch_poll_s)
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(self._pushes.close(grace_s), self._stops.close(grace_s))
        await self._app.egress.close()

    async def idle(self) -> None:
        """Wait until no call is active. For tests."""
        while self._pushes.tasks or self._stops.tasks:
            await self._pushes.idle()
            await self._stops.idle()

    async def tick(self) -> int:
        """Start as many calls as the limits allow. Returns the number of runs found."""
        pushed = await self._push()
        return pushed + await self._stop() if self._app.leader_state.leads else pushed

    async def _push(self) -> int:
        slots, all_found = self._pushes, 0
        while slots.free:
            share = _few(slots.share())
            found = await dispatch.take(self._app, share, self._served)
            if found:
                self._served = found[-1].project_id
            for run in found:
                if run.lease_token is not None:
                    slots.start(run.seq, run.push_service_id or "", run.project_id, self._deliver(run))
                else:
                    metrics.dispatches.labels("failed" if run.terminal else "retried").inc()
            all_found += len(found)
            if len(found) < share.limit:
                break
        return all_found

    async def _stop(self) -> int:
        slots, all_found = self._stops, 0
        while slots.free:
            share = _few(slots.share())
            most = share.limit
            known = len(slots.tasks) + len(self._pushes.tasks)
            found = await dispatch.cancelled(self._app, replace(share, limit=most + known))
            # A run whose dispatch is active is stopped later, so that it cannot start after its stop.
            new = [run for run in found if run.seq not in slots.tasks and run.seq not in self._pushes.tasks]
            for run in new[:most]:
                slots.start(run.seq, run.push_service_id or "", run.project_id, self._send_stop(run))
            all_found += min(most, len(new))
            if len(new) < most:
                break
        return all_found

    async def _deliver(self, run: Run) -> None:
        try:
            metrics.dispatches.labels(await dispatch.deliver(self._app, run)).inc()
        except Error as trouble:
            log.warning("the outcome of a dispatch could not be stored", run_id=run.run_id, code=trouble.code)
        except Exception:
            log.exception("dispatch failed", run_id=run.run_id)

    async def _send_stop(self, run: Run) -> None:
        try:
            stopped = await dispatch.stop(self._app, run)
            metrics.dispatches.labels("stopped" if stopped else "not_stopped").inc()
        except Error as trouble:
            log.warning("the outcome of a stop could not be stored", run_id=run.run_id, code=trouble.code)
        except Exception:
            log.exception("stopping a pushed run failed", run_id=run.run_id)


def _few(share: FairShare) -> FairShare:
    """Limit a share to what one service may get, because all of it may be for the same service."""
    return replace(share, limit=min(share.limit, limits.dispatches_per_service_max))
