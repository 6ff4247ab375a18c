"""Dispatches runs to push services, and stops cancelled runs there: many at a time, but few for each service."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from runstead.commands import dispatch
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Run
from runstead.loops.loop import pause, tick
from runstead.ports import metrics
from runstead.ports.notifier import PUSH_KEY

log = structlog.get_logger(__name__)
grace_s: Final = 3.0


class _Lane:
    """Active calls: at most `limits.dispatches_max`, and at most `limits.dispatches_per_service_max` for each service."""

    def __init__(self, freed: Callable[[], None]) -> None:
        self._freed = freed
        self._load: Counter[str] = Counter()
        self.tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def free(self) -> int:
        return limits.dispatches_max - len(self.tasks)

    @property
    def busy(self) -> list[str]:
        return [service for service, n in self._load.items() if n >= limits.dispatches_per_service_max]

    def start(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        service, seq = run.push_service_id or "", run.seq
        self._load[service] += 1
        task = asyncio.ensure_future(work)
        self.tasks[seq] = task

        def done(_: asyncio.Task[None]) -> None:
            del self.tasks[seq]
            self._load[service] -= 1
            if not self._load[service]:
                del self._load[service]
            self._freed()

        task.add_done_callback(done)


class Dispatcher:
    """Starts calls to push services: when a change notification arrives, and every `limits.dispatch_poll_s`.

    Every replica dispatches runs, because the store never gives a run to two of them. Only the leader stops
    runs, because all replicas find the same cancelled runs and one call is enough.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._wake = asyncio.Event()
        self._served = ""  # the last project that was served, for the round robin
        self._pushes = _Lane(self._call_ended)
        self._stops = _Lane(self._call_ended)

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
        under_way = [*self._pushes.tasks.values(), *self._stops.tasks.values()]
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._app.egress.close()

    async def idle(self) -> None:
        """Wait until no call is active. For tests."""
        while under_way := [*self._pushes.tasks.values(), *self._stops.tasks.values()]:
            await asyncio.wait(under_way)

    async def tick(self) -> int:
        """Start as many calls as the limits allow. Returns the number of runs found."""
        pushed = await self._push()
        return pushed + await self._stop() if self._app.leader_state.leads else pushed

    async def _push(self) -> int:
        lane, all_found = self._pushes, 0
        while lane.free > 0:
            most = min(lane.free, limits.dispatches_per_service_max)
            found = await dispatch.take(self._app, most, lane.busy, self._served)
            if found:
                self._served = found[-1].project_id
            for run in found:
                if run.lease_token is not None:
                    lane.start(run, self._deliver(run))
                else:
                    metrics.dispatches.labels("failed" if run.terminal else "retried").inc()
            all_found += len(found)
            if len(found) < most:
                break
        return all_found

    async def _stop(self) -> int:
        lane, all_found = self._stops, 0
        while lane.free > 0:
            most = min(lane.free, limits.dispatches_per_service_max)
            known = len(lane.tasks) + len(self._pushes.tasks)
            found = await dispatch.cancelled(self._app, most + known, lane.busy)
            # A run whose dispatch is active is stopped later, so that it cannot start after its stop.
            new = [run for run in found if run.seq not in lane.tasks and run.seq not in self._pushes.tasks]
            for run in new[:most]:
                lane.start(run, self._send_stop(run))
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
