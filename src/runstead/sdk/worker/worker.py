"""A worker process: it claims runs, calls a handler for each, and keeps their leases while it does."""

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.lease import Claim, ClaimedRun
from runstead.sdk.models.run import Kind
from runstead.sdk.transport.retry import Retries
from runstead.sdk.worker.group import WorkerGroup
from runstead.sdk.worker.handler import Handler
from runstead.sdk.worker.job import Job
from runstead.sdk.worker.lease_renewal import Renewals
from runstead.sdk.worker.slots import WorkerSlots

logger = logging.getLogger("runstead.sdk.worker.worker")

#: How long a claim under way is waited for when the worker stops: an answer that is just coming holds runs.
_LINGER_S: Final = 1.0
#: How long the release of a run may take when the worker leaves. After that its lease runs out by itself.
_RELEASE_S: Final = 5.0
#: What a server gives out in one claim.
_RUNS_PER_CLAIM: Final = 100
#: A claim that came back empty without waiting is not repeated at once.
_IDLE_S: Final = 1.0


class Worker:
    """Runs `handler(run, ctx)` for every run that it claims, `concurrency` of them at once.

    What the handler returns completes the run, what it raises fails it. It is cancelled when the run is cancelled or
    its lease is lost; nothing is then completed. The server may restart at any time.

    `kinds` and `targets` say which runs (`targets` like `task:inventory`; neither: agent runs). `implementation_kind`
    and `worker_key` name the worker; it registers with `client`'s key, which must reach its project, and claims with
    the token that it gets. With `worker_id` it does not register and uses `client`'s key for everything.

    `lease_seconds` is 5 to 300: a run whose worker dies is claimed again after that. `wait_seconds` (0 to 30) is how
    long a claim waits for a run. Workers of one process may share their `places`, which then say how much is done at a
    time, in place of `concurrency`. On `stop()` no more runs are claimed; those under way get `grace_seconds` to finish
    and are then released.
    """

    def __init__(
        self,
        client: AsyncClient,
        handler: Handler,
        *,
        kinds: Sequence[Kind] | None = None,
        targets: Sequence[str] | None = None,
        implementation_kind: str = "python",
        worker_key: str | None = None,
        worker_id: str | None = None,
        display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        lease_seconds: int = 30,
        concurrency: int = 4,
        places: WorkerSlots | None = None,
        wait_seconds: int = 20,
        grace_seconds: float = 30.0,
        heartbeat_seconds: float = 30.0,
        retries: Retries | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        for name, value, least, most in (
            ("lease_seconds", lease_seconds, 5, 300),
            ("wait_seconds", wait_seconds, 0, 30),
            ("concurrency", concurrency, 1, 10_000),
            ("the number of targets", len(targets or ()), 0, 100),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {least} to {most}, not {value}")
        self.worker_id = worker_id
        self._client = client
        self._handler = handler
        self._kinds = kinds
        self._targets = targets
        self._implementation_kind = implementation_kind
        self._worker_key = worker_key or default_worker_key()
        self._display_name = display_name
        self._metadata = metadata
        self._lease_s = lease_seconds
        self._seat = (places or WorkerSlots(concurrency)).seat()
        self._wait_s = wait_seconds
        self._grace_s = grace_seconds
        self._heartbeat_s = heartbeat_seconds
        self._retries = retries or Retries()
        self._clock = clock
        self._sleep = sleep
        self._registers = worker_id is None
        self._claims = client
        self._jobs: dict[asyncio.Future[None], Job] = {}
        self._completing: set[Job] = set()
        self._renewals = Renewals(client, lease_seconds, clock, sleep)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and close the client. A second signal cuts the grace short."""
        WorkerGroup([self]).run()

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    def stop(self) -> None:
        """Stop claiming and let what runs finish. Called again, release what runs at once. For the loop's thread."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def serve(self) -> None:
        """Claim and work until `stop()`; cancelled, it releases what runs at once. RunsteadError where the server refuses the worker for good (400, 401, 403)."""
        beating = asyncio.ensure_future(self._beat())
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    await self._serve_once()
                    failures = 0
                except RunsteadError as error:
                    if not self._recovers(error):
                        raise
                    logger.warning("No claim: %s", error)
                    await self._pause(self._retries.delay_s(failures, error.retry_after_s))
                    failures += 1
        except asyncio.CancelledError:
            # Whoever cancels wants an end now: there is no grace, but every run is still given back.
            self._hurrying.set()
            raise
        finally:
            beating.cancel()
            await self._drain()

    async def run_until_idle(self) -> int:
        """Claim and work until nothing is there to claim; how many runs it worked on. For those who start a worker now
        and then, and for tests. RunsteadError where the server refuses or does not answer.
        """
        count = 0
        try:
            while not self._stopping.is_set():
                if self.worker_id is None:
                    await self._register()
                begun = await self._claim(await self._take(), 0)
                count += begun
                if not begun and not self._jobs:
                    break
                if not begun:
                    await self._until(*self._jobs)
        except asyncio.CancelledError:
            self._hurrying.set()
            raise
        finally:
            await self._drain()
        return count

    async def _serve_once(self) -> None:
        if self.worker_id is None:
            await self._register()
            return
        places = await self._take()
        if places == 0:
            return
        began = self._clock()
        if self._seat.shared:
            # What waits for runs keeps its places from the others: look for many, and wait for one.
            if await self._claim(places, 0) or self._stopping.is_set():
                return
            places = self._seat.take(1)
        if not await self._claim(places, self._wait_s) and self._clock() - began < _IDLE_S:
            await self._pause(_IDLE_S)

    async def _take(self) -> int:
        """WorkerSlots for runs to claim, as many as there are; 0 once the worker stops."""
        try:
            while not self._stopping.is_set():
                taken = self._seat.take(_RUNS_PER_CLAIM)
                if taken:
                    return taken
                await self._until(asyncio.ensure_future(self._seat.look.wait()), cancel=True)
        finally:
            self._seat.leave()
        return 0

    async def _register(self) -> None:
        registration = await self._client.register_worker(
            self._implementation_kind,
            self._worker_key,
            display_name=self._display_name,
            metadata=self._metadata,
        )
        self.worker_id = registration.worker.id
        token = registration.token
        self._claims = self._client if token is None else self._client.with_key(token)
        logger.info(
            "Worker %s (%s) of project %s serves %s",
            self._worker_key,
            self.worker_id,
            self._client.project,
            ", ".join(self._targets or self._kinds or ["agents"]),
        )

    def _recovers(self, error: RunsteadError) -> bool:
        if error.status in {401, 404} and self._registers and self.worker_id is not None:
            # The server does not know the worker or its token any more: perhaps its store was replaced.
            self.worker_id = None
            return True
        return error.retryable

    async def _claim(self, places: int, wait_s: int) -> int:
        """Begin with as many runs as there are places for; how many. The other places are given back."""
        begun = 0
        try:
            for run in await self._claimed(places, wait_s) if places else []:
                self._start(run)
                begun += 1
        finally:
            self._seat.give(places - begun)
        return begun

    async def _claimed(self, most: int, wait_s: int) -> list[ClaimedRun]:
        assert self.worker_id is not None
        claiming: asyncio.Future[Claim] = asyncio.ensure_future(
            self._claims.claim(
                self.worker_id,
                self._lease_s,
                kinds=self._kinds,
                targets=self._targets,
                wait_seconds=wait_s,
                max_runs=most,
            )
        )
        try:
            await self._until(claiming)
            if not claiming.done():
                await self._at_most(_LINGER_S, claiming)
        finally:
            claiming.cancel()
        if not claiming.done():
            return []
        claim = claiming.result()
        runs = claim.runs or ([claim.run] if claim.run is not None else [])
        if self._stopping.is_set():
            await asyncio.gather(*(self._release(run, "The worker is stopping") for run in runs))
            return []
        return runs

    def _start(self, run: ClaimedRun) -> None:
        job = Job(
            run,
            self._handler,
            self._client,
            self._release,
            self._renewals,
            self._retries,
            self._sleep,
            self._handled,
        )
        working = asyncio.ensure_future(job.work())
        self._jobs[working] = job
        working.add_done_callback(self._ended)

    def _handled(self, job: Job) -> None:
        """Another run may have the place while this one's completion is on its way."""
        if self._seat.give_early():
            self._completing.add(job)

    def _ended(self, working: "asyncio.Future[None]") -> None:
        job = self._jobs.pop(working)
        if job in self._completing:
            self._completing.remove(job)
            self._seat.completed()
        else:
            self._seat.give(1)
        if not working.cancelled() and working.exception() is not None:
            logger.error("Run %s was dropped", job.run.run_id, exc_info=working.exception())

    async def _release(self, run: ClaimedRun, why: str) -> None:
        """Give the run back at once. Where that fails, its lease runs out by itself."""
        assert self.worker_id is not None
        releasing = asyncio.ensure_future(
            self._claims.release(
                self.worker_id,
                run.run_id,
                error={"code": "RELEASED", "message": why},
                retry_after_seconds=0,
                attempt=run.attempt,
                lease_token=run.lease_token,
            )
        )
        await self._at_most(_RELEASE_S, releasing)
        if not releasing.done():
            releasing.cancel()
            logger.warning("Run %s was not released in time", run.run_id)
        elif isinstance(releasing.exception(), RunsteadError):
            logger.warning("Run %s was not released: %s", run.run_id, releasing.exception())

    async def _drain(self) -> None:
        if self._jobs and not self._hurrying.is_set():
            logger.info("Stopping: %d runs have %s s to finish", len(self._jobs), self._grace_s)
            hurried = asyncio.ensure_future(self._hurrying.wait())
            finished = asyncio.ensure_future(asyncio.wait(list(self._jobs)))
            await self._at_most(self._grace_s, finished, hurried)
            hurried.cancel()
            finished.cancel()
        for job in self._jobs.values():
            job.dismiss()
        if self._jobs:
            await asyncio.wait(list(self._jobs))
        self._renewals.close()

    async def _beat(self) -> None:
        """Tell the server that the worker lives, also while it is too busy to claim."""
        while True:
            await self._sleep(self._heartbeat_s)
            if self.worker_id is not None:
                try:
                    await self._claims.worker_heartbeat(self.worker_id)
                except RunsteadError as error:
                    logger.debug("No heartbeat: %s", error)

    async def _pause(self, seconds: float) -> None:
        await self._until(asyncio.ensure_future(self._sleep(seconds)), cancel=True)

    async def _until(self, *work: "asyncio.Future[Any]", cancel: bool = False) -> None:
        """Wait for the first of them, or for the stop."""
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([*work, stop], return_when=asyncio.FIRST_COMPLETED)
        for one in (stop, *work) if cancel else (stop,):
            one.cancel()

    async def _at_most(self, seconds: float, *work: "asyncio.Future[Any]") -> None:
        """Wait for the first of them, but no longer than this."""
        timer = asyncio.ensure_future(self._sleep(seconds))
        await asyncio.wait([*work, timer], return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()


def default_worker_key() -> str:
    """Host and process: what a worker is called unless told otherwise."""
    name = re.sub(r"[^a-zA-Z0-9_.:-]", "-", socket.gethostname()) or "worker"
    return f"{name[:100]}-{os.getpid()}"
