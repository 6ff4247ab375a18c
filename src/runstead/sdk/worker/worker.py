"""A worker: it claims runs, calls a handler for each, and renews their leases meanwhile."""

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
from runstead.sdk.transport.retry import Backoff, Retries
from runstead.sdk.worker.channel import WorkerChannel
from runstead.sdk.worker.group import WorkerGroup
from runstead.sdk.worker.handler import Handler
from runstead.sdk.worker.job import Job
from runstead.sdk.worker.lease_renewal import Renewals
from runstead.sdk.worker.slots import WorkerSlots

logger = logging.getLogger("runstead.sdk.worker.worker")

#: How long a stopping worker waits for an open claim: its response may contain runs.
_LINGER_S: Final = 1.0
#: How long the release of a run may take when the worker stops. After that the run's lease expires.
_RELEASE_S: Final = 5.0
#: The most runs that the server returns for one claim.
_RUNS_PER_CLAIM: Final = 100
#: The interval of claims that return empty without waiting.
_IDLE_S: Final = 1.0


class Worker:
    """Runs `handler(run, ctx)` for every run that it claims, `concurrency` of them at a time.

    The handler's return value completes the run, an exception fails it. The handler is cancelled when the run is
    cancelled or its lease is lost. The server may restart at any time.

    `version` is that of the handler's code. Runs of `pinned_targets` stay with workers of the version that claims them
    first.

    `kinds` and `targets` select the runs (`targets` like `task:inventory`; neither: agent runs). `target_definitions`
    describe them, by default those of an app. `implementation_kind`
    and `worker_key` identify the worker. It registers with `client`'s key, which needs access to the project, and
    claims with the token that it gets. With `worker_id` it does not register, and uses `client`'s key for all calls.

    `lease_seconds` is 5 to 300: a run whose worker dies is claimed again after that. `wait_seconds` (0 to 30) is how
    long a claim waits for a run. Workers of one process may share `slots`, in place of `concurrency`. On `stop()` no
    more runs are claimed; running ones get `grace_seconds` to finish and are then released.
    Raise ValueError for values that cannot work.
    """

    def __init__(
        self,
        client: AsyncClient,
        handler: Handler,
        *,
        kinds: Sequence[Kind] | None = None,
        targets: Sequence[str] | None = None,
        target_definitions: Sequence[Mapping[str, Any]] | None = None,
        version: str | None = None,
        pinned_targets: Sequence[str] | None = None,
        implementation_kind: str = "python",
        worker_key: str | None = None,
        worker_id: str | None = None,
        display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        lease_seconds: int = 30,
        concurrency: int = 4,
        slots: WorkerSlots | None = None,
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
        of_app: Sequence[Mapping[str, Any]] = getattr(handler, "target_definitions", ())
        self._target_definitions = of_app if target_definitions is None else target_definitions
        self._version = version
        self._pinned_targets = list(pinned_targets or ()) or None
        self._implementation_kind = implementation_kind
        self._worker_key = worker_key or default_worker_key()
        self._display_name = display_name
        self._metadata = metadata
        self._lease_s = lease_seconds
        self._slots = (slots or WorkerSlots(concurrency)).share()
        self._wait_s = wait_seconds
        self._grace_s = grace_seconds
        self._heartbeat_s = heartbeat_seconds
        self._retries = retries or Retries()
        self._clock = clock
        self._sleep = sleep
        self._registers = worker_id is None
        #: Of an app: puts its schedules on the server before the first claim.
        self._sync: Callable[[AsyncClient], Awaitable[object]] | None = getattr(
            handler, "sync_schedules", None
        )
        self._claims = client
        self._jobs: dict[asyncio.Future[None], Job] = {}
        self._completing: set[Job] = set()
        self._renewals = Renewals(client, lease_seconds, clock, sleep)
        self._channel: WorkerChannel | None = None  # only while it serves
        self._stopping = asyncio.Event()
        self._releasing_now = asyncio.Event()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then close the client. A second signal skips the grace."""
        WorkerGroup([self]).run()

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    def stop(self) -> None:
        """Stop claiming, and let runs finish. The second call releases them at once. Call it in the loop's thread."""
        if self._stopping.is_set():
            self._releasing_now.set()
        self._stopping.set()

    async def serve(self) -> None:
        """Claim and handle runs until `stop()`. A cancel releases all runs at once.

        Raise RunsteadError where the server refuses the worker permanently (400, 401, 403).
        """
        heartbeats = asyncio.ensure_future(self._send_heartbeats())
        backoff = Backoff(self._retries)
        self._channel = WorkerChannel(self._renewals, self._sleep)
        try:
            while not self._stopping.is_set():
                try:
                    await self._serve_once()
                    backoff.reset()
                except RunsteadError as error:
                    if not (self._is_forgotten(error) or error.retryable):
                        raise
                    logger.warning("No claim: %s", error)
                    await self._pause(backoff.next_delay_s(error.retry_after_s))
        except asyncio.CancelledError:
            # A cancel skips the grace. Every run is still released.
            self._releasing_now.set()
            raise
        finally:
            heartbeats.cancel()
            try:
                await self._drain()
            finally:
                self._channel.close()

    async def run_until_idle(self) -> int:
        """Claim and handle runs until no run is left to claim, and return how many it handled.

        For jobs that run a worker from time to time, and for tests. Raise RunsteadError where the server refuses a call
        or does not answer.
        """
        count, registered_again = 0, False
        try:
            await self._sync_schedules()
            while not self._stopping.is_set():
                if self.worker_id is None:
                    await self._register()
                try:
                    started = await self._claim(await self._take_slots(), 0)
                except RunsteadError as error:
                    if registered_again or not self._is_forgotten(error):
                        raise
                    registered_again = True
                    continue
                count += started
                if not started and not self._jobs:
                    break
                if not started:
                    await self._wait_for_first(*self._jobs)
        except asyncio.CancelledError:
            self._releasing_now.set()
            raise
        finally:
            await self._drain()
        return count

    async def _sync_schedules(self) -> None:
        if self._sync is not None:
            await self._sync(self._client)
            self._sync = None

    async def _serve_once(self) -> None:
        await self._sync_schedules()
        if self.worker_id is None:
            await self._register()
            return
        slots = await self._take_slots()
        if slots == 0:
            return
        began = self._clock()
        if self._slots.shared:
            # A claim that waits blocks its slots for other workers: claim many without waiting, then wait with one.
            if await self._claim(slots, 0) or self._stopping.is_set():
                return
            slots = self._slots.take(1)
        if not await self._claim(slots, self._wait_s) and self._clock() - began < _IDLE_S:
            await self._pause(_IDLE_S)

    async def _take_slots(self) -> int:
        """Wait for slots, and return how many were taken; 0 when the worker stops."""
        try:
            while not self._stopping.is_set():
                taken = self._slots.take(_RUNS_PER_CLAIM)
                if taken:
                    return taken
                await self._wait_for_first(asyncio.ensure_future(self._slots.changed.wait()), cancel=True)
        finally:
            self._slots.stop_waiting()
        return 0

    async def _register(self) -> None:
        registration = await self._client.workers.register(
            self._implementation_kind,
            self._worker_key,
            display_name=self._display_name,
            metadata=self._metadata_with_targets(),
            targets=self._definitions(),
            version=self._version,
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

    def _metadata_with_targets(self) -> Mapping[str, Any] | None:
        """Return the metadata with the worker's `targets`, which show people why a run is not claimed."""
        return {"targets": list(self._targets), **(self._metadata or {})} if self._targets else self._metadata

    def _definitions(self) -> Sequence[Mapping[str, Any]] | None:
        """Return how the worker describes its targets. None: it serves targets that it does not know."""
        if not self._targets:
            return None
        described = {one["target"]: one for one in self._target_definitions}
        return [described.get(target, {"target": target}) for target in self._targets]

    def _is_forgotten(self, error: RunsteadError) -> bool:
        """Return whether to register again: the server no longer knows the worker, or its token has expired."""
        if error.status not in {401, 404} or not self._registers or self.worker_id is None:
            return False
        self.worker_id = None
        return True

    async def _claim(self, slots: int, wait_s: int) -> int:
        """Claim and start up to `slots` runs, and return how many. Give the other slots back."""
        started = 0
        try:
            for run in await self._claim_runs(slots, wait_s) if slots else []:
                self._start(run)
                started += 1
        finally:
            self._slots.give_back(slots - started)
        return started

    async def _claim_runs(self, most: int, wait_s: int) -> list[ClaimedRun]:
        assert self.worker_id is not None
        claiming: asyncio.Future[Claim] = asyncio.ensure_future(
            self._claims.workers.claim(
                self.worker_id,
                self._lease_s,
                kinds=self._kinds,
                targets=self._targets,
                wait_seconds=wait_s,
                max_runs=most,
                version=self._version,
                pinned_targets=self._pinned_targets,
            )
        )
        try:
            await self._wait_for_first(claiming)
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
            run=run,
            handler=self._handler,
            client=self._client,
            release=self._release,
            renewals=self._renewals,
            retries=self._retries,
            sleep=self._sleep,
            on_handled=self._handled,
        )
        working = asyncio.ensure_future(job.work())
        self._jobs[working] = job
        if self._channel is not None and self.worker_id is not None:
            self._channel.open(self._claims, self.worker_id)
        working.add_done_callback(self._ended)

    def _handled(self, job: Job) -> None:
        """Let another run have the slot while this run's completion is sent."""
        if self._slots.give_back_early():
            self._completing.add(job)

    def _ended(self, working: "asyncio.Future[None]") -> None:
        job = self._jobs.pop(working)
        if job in self._completing:
            self._completing.remove(job)
            self._slots.completed()
        else:
            self._slots.give_back(1)
        if not working.cancelled() and working.exception() is not None:
            logger.error("Run %s was dropped", job.run.run_id, exc_info=working.exception())

    async def _release(self, run: ClaimedRun, why: str) -> None:
        """Release the run at once. Where that fails, the run's lease expires."""
        assert self.worker_id is not None
        releasing = asyncio.ensure_future(
            self._claims.workers.release(
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
        if self._jobs and not self._releasing_now.is_set():
            logger.info("Stopping: %d runs have %s s to finish", len(self._jobs), self._grace_s)
            releasing = asyncio.ensure_future(self._releasing_now.wait())
            finished = asyncio.ensure_future(asyncio.wait(list(self._jobs)))
            await self._at_most(self._grace_s, finished, releasing)
            releasing.cancel()
            finished.cancel()
        for job in self._jobs.values():
            job.release_now()
        if self._jobs:
            await asyncio.wait(list(self._jobs))
        self._renewals.close()

    async def _send_heartbeats(self) -> None:
        """Report to the server that the worker is alive, also while it has no slot to claim for."""
        while True:
            await self._sleep(self._heartbeat_s)
            if self.worker_id is not None:
                try:
                    await self._claims.workers.heartbeat(self.worker_id)
                except RunsteadError as error:
                    logger.debug("No heartbeat: %s", error)

    async def _pause(self, seconds: float) -> None:
        await self._wait_for_first(asyncio.ensure_future(self._sleep(seconds)), cancel=True)

    async def _wait_for_first(self, *work: "asyncio.Future[Any]", cancel: bool = False) -> None:
        """Wait for the first of the futures, or for the stop. `cancel`: cancel the futures then."""
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([*work, stop], return_when=asyncio.FIRST_COMPLETED)
        for one in (stop, *work) if cancel else (stop,):
            one.cancel()

    async def _at_most(self, seconds: float, *work: "asyncio.Future[Any]") -> None:
        """Wait for the first of the futures, at most this many seconds."""
        timer = asyncio.ensure_future(self._sleep(seconds))
        await asyncio.wait([*work, timer], return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()


def default_worker_key() -> str:
    """Return the default name of a worker: host name and process id."""
    name = re.sub(r"[^a-zA-Z0-9_.:-]", "-", socket.gethostname()) or "worker"
    return f"{name[:100]}-{os.getpid()}"
