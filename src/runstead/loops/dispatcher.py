"""Sends runs to push services and tells services to stop: many at a time, few for any one service."""

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
    """Calls under way: at most `limits.dispatches_max`, and a service that has its share gets no more for now."""

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
    """Woken by a hint when a run is to be pushed or stopped; also looks by itself, once a second. Every replica pushes,
    since no two are given the same run. Stops are the leader's: they are found by all, and one call is enough.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._hint = asyncio.Event()
        self._served = ""  # the project that had its turn last
        self._pushes = _Lane(self._wake)
        self._stops = _Lane(self._wake)

    def _wake(self) -> None:
        self._hint.set()

    async def run(self) -> None:
        """Until the server stops. Calls under way get a moment to end; what is cut off is found again in the store."""
        metrics.register_loop("dispatcher")
        with self._app.notifier.subscribe(PUSH_KEY) as hint:
            self._hint = hint
            while not self._app.stopping.is_set():
                hint.clear()
                await tick("dispatcher", self.tick)
                await pause(hint, limits.dispatch_poll_s)
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
        """Until every call under way has ended. For tests."""
        while under_way := [*self._pushes.tasks.values(), *self._stops.tasks.values()]:
            await asyncio.wait(under_way)

    async def tick(self) -> int:
        """One bounded look: start as many calls as there is room for; how many runs were found."""
        pushed = await self._push()
        return pushed + await self._stop() if self._app.leader_state.leads else pushed

    async def _push(self) -> int:
        lane, all_found = self._pushes, 0
        while lane.free > 0:
            room = min(lane.free, limits.dispatches_per_service_max)
            found = await dispatch.take(self._app, room, lane.busy, self._served)
            if found:
                self._served = found[-1].project_id
            for run in found:
                if run.lease_token is not None:
                    lane.start(run, self._deliver(run))
                else:
                    metrics.dispatches.labels("failed" if run.terminal else "retried").inc()
            all_found += len(found)
            if len(found) < room:
                break
        return all_found

    async def _stop(self) -> int:
        lane, all_found = self._stops, 0
        while lane.free > 0:
            room = min(lane.free, limits.dispatches_per_service_max)
            known = len(lane.tasks) + len(self._pushes.tasks)
            found = await dispatch.cancelled(self._app, room + known, lane.busy)
            # One whose hand-over is under way is told afterwards: it must not start after it was stopped.
            new = [run for run in found if run.seq not in lane.tasks and run.seq not in self._pushes.tasks]
            for run in new[:room]:
                lane.start(run, self._tell(run))
            all_found += min(room, len(new))
            if len(new) < room:
                break
        return all_found

    async def _deliver(self, run: Run) -> None:
        try:
            metrics.dispatches.labels(await dispatch.deliver(self._app, run)).inc()
        except Error as trouble:
            log.warning("a dispatch could not be noted", run_id=run.run_id, code=trouble.code)
        except Exception:
            log.exception("dispatch failed", run_id=run.run_id)

    async def _tell(self, run: Run) -> None:
        try:
            told = await dispatch.stop(self._app, run)
            metrics.dispatches.labels("stopped" if told else "not_stopped").inc()
        except Error as trouble:
            log.warning("a stop could not be noted", run_id=run.run_id, code=trouble.code)
        except Exception:
            log.exception("stopping a pushed run failed", run_id=run.run_id)
