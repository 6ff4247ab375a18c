"""One claimed run in a worker: its handler, its lease and its completion."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.cleanup import CLEANUP_S
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.durable.suspension import Parked
from runstead.sdk.errors import RunFailed, RunsteadError
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.run import Completed, Run, TerminalStatus
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call, path
from runstead.sdk.tracing import attempt_span
from runstead.sdk.transport.retry import Backoff, Retries
from runstead.sdk.worker.handler import Handler, blocks, call_handler, failure, success
from runstead.sdk.worker.lease_renewal import LOSSES, Renewals, wait_at_most
from runstead.sdk.worker.log_handler import install, logging_to

T = TypeVar("T")

logger = logging.getLogger("runstead.sdk.worker.worker")

#: How long a handler may clean up when it is cancelled because the worker stops.
_CLEANUP_S: Final = 5.0
_CALLS: Final = Calls()


def _is_parked(handling: "asyncio.Future[Any]") -> bool:
    """Whether the run waits, without a worker."""
    return not handling.cancelled() and isinstance(handling.exception(), Parked)


class Job:
    """Runs the handler of one run. `work()` returns when the run is completed, lost or released.

    `release_now()` stops the handler and releases the run.
    """

    def __init__(
        self,
        run: ClaimedRun,
        handler: Handler,
        client: AsyncClient,
        release: Callable[[ClaimedRun, str], Awaitable[None]],
        renewals: Renewals,
        retries: Retries,
        sleep: Callable[[float], Awaitable[object]],
        on_handled: Callable[["Job"], None],
    ) -> None:
        """`client` uses the original credential.

        `on_handled` is called when the handler is done, before the completion is sent.
        """
        self.run = run
        self._handler = handler
        self._client = client
        self._release = release
        self._renewals = renewals
        self._retries = retries
        self._sleep = sleep
        self._on_handled = on_handled
        self._calls = _CALLS
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._released: asyncio.Future[None] = loop.create_future()
        self._attempt = Attempt(run, self._calls, self._send_for_handler, sleep)
        self._attempt.was_cancelled = self._was_cancelled
        self._attempt.trace = attempt_span(run)
        self._ending: asyncio.Future[Run | None] | None = None

    def release_now(self) -> None:
        _set_done(self._released)

    async def work(self) -> None:
        self._lease = self._renewals.hold(self.run, self._lose)
        trace = self._attempt.trace
        if trace is not None and not (trace.needs_history and hasattr(self._handler, "reads_history")):
            trace.begin()
        handling = asyncio.ensure_future(self._handle())
        try:
            await _wait_for_first(handling, self._lost, self._released)
            if trace is not None:
                trace.attach()
            if handling.done() and not self._lost.done():
                finished = _is_parked(handling)
                if not finished:
                    self._on_handled(self)
                    finished = await self._finish(self._completion(handling))
            else:
                finished = False
                await self._stop(handling)
            if not finished and self._lost.done():
                await self._report_stop()
            elif finished and self._ending is not None:
                await self._ending
            elif not finished:
                stopped = self._released.done()
                why = (
                    "The worker stopped before the run was done" if stopped else "Its completion was refused"
                )
                await self._release(self.run, why)
        finally:
            self._attempt.close()
            self._renewals.drop(self._lease)
            if trace is not None:
                trace.end(handling, waits=handling.done() and _is_parked(handling))
            handling.cancel()
            if self._ending is not None:
                self._ending.cancel()

    async def _handle(self) -> Any:
        """Call the handler, and wait until its events are stored."""
        install()
        try:
            with logging_to(self._attempt):
                result = await call_handler(self._handler, self.run, self._attempt)
        except Exception:
            with suppress(LeaseLostError, RunsteadError):  # the handler's exception is the one to report
                await self._attempt.flush()
            raise
        await self._attempt.finish()
        return await self._attempt.stored_output(result)

    def _completion(self, handling: "asyncio.Future[Any]") -> Call[Completed]:
        if handling.cancelled():
            error: BaseException | None = RunFailed("The handler was cancelled", "HANDLER_CANCELLED")
        else:
            error = handling.exception()
        if error is None:
            return success(self.run, self._attempt, self._calls, handling.result())
        return failure(self.run, self._attempt, self._calls, error)

    async def _finish(self, completion: Call[Completed]) -> bool:
        """Send the completion. Return False where the run still has to be released."""
        # The worker's clock may have ended the lease too early. The server decides; the fence makes the attempt safe.
        try:
            answer = await self._send(completion, self._released)
        except LeaseLostError:
            return not self._released.done()
        except RunsteadError as error:
            logger.warning("The completion of run %s was refused: %s", self.run.run_id, error)
            refused = RunFailed(f"The completion was refused: {error.detail}", "COMPLETION_REFUSED")
            try:
                answer = await self._send(
                    failure(self.run, self._attempt, self._calls, refused), self._released
                )
            except (LeaseLostError, RunsteadError):
                return False
        if not answer.completed:
            logger.info("Run %s had already ended as %s", self.run.run_id, answer.run.status)
        return True

    async def _stop(self, handling: "asyncio.Future[Any]") -> None:
        self._attempt.close()
        # A thread cannot be stopped. It keeps its slot until it ends, so that the worker never exceeds its concurrency.
        # A worker that stops does not wait for it.
        if not blocks(self._handler):
            if (
                self._attempt.cleaning_up
            ):  # one of its calls found the loss: a cancel would interrupt its cleanup
                timer = asyncio.ensure_future(self._sleep(CLEANUP_S))
                await _wait_for_first(handling, self._released, timer)
                timer.cancel()
            handling.cancel()
        await _wait_for_first(handling, self._released)
        if not blocks(self._handler):
            await wait_at_most(_CLEANUP_S, handling, self._sleep)
        if handling.done() and not handling.cancelled() and handling.exception() is not None:
            logger.debug("Run %s was stopped: %r", self.run.run_id, handling.exception())

    async def _report_stop(self) -> None:
        """Report to the server that the worker has stopped a run that was ended by a client."""
        assert self._ending is not None
        now = await self._ending
        if now is None or not now.terminal:
            return
        try:
            status = cast(TerminalStatus, now.status)
            await self._client.runs.complete(self.run.run_id, status, **self._attempt.fence)
        except RunsteadError as error:
            logger.debug("The stop of run %s was not reported: %s", self.run.run_id, error)

    async def _was_cancelled(self) -> bool:
        """Whether the lost run was cancelled. Its handler may then call steps for its cleanup."""
        if self._ending is None:
            return False
        await asyncio.wait([self._ending], timeout=_CLEANUP_S)
        now = self._ending.result() if self._ending.done() and not self._ending.cancelled() else None
        return now is not None and now.status == "cancelled"

    def _lose(self, why: str) -> None:
        if self._ending is not None:
            return
        self._ending = asyncio.ensure_future(self._read_ending(why))
        self._renewals.drop(self._lease)
        self._attempt.close()
        _set_done(self._lost)

    async def _read_ending(self, why: str) -> Run | None:
        """Read the lost run once, and log what happened to it. None where the server does not answer."""
        with logging_to(None):
            now = None
            try:
                now = await self._client.runs.get(self.run.run_id)
            except RunsteadError as error:
                logger.debug("The end of run %s is not known: %s", self.run.run_id, error)
            if now is not None and now.status == "cancelled":
                logger.info("Run %s was cancelled", self.run.run_id)
            elif now is not None and (now.waiting_tool_call_id or "").startswith("budget:"):
                logger.info("Run %s is stopped. %s", self.run.run_id, now.waiting_tool_name)
            else:
                logger.warning("Run %s is lost: %s", self.run.run_id, why)
            return now

    async def _send_for_handler(self, call: Call[T]) -> T:
        with logging_to(None):  # the SDK's own log lines do not belong to the run's log
            return await self._send(call, self._lost)

    async def _send(self, call: Call[T], until: "asyncio.Future[None]") -> T:
        """Send a call, and retry it through outages until `until` is done. Raise LeaseLostError when the lease is lost."""
        backoff = Backoff(self._retries)
        while not until.done():
            sending = asyncio.ensure_future(self._client.request(call))
            try:
                await _wait_for_first(sending, until)
            finally:
                sending.cancel()
            if not sending.done():
                break
            error = sending.exception()
            if error is None:
                return sending.result()
            if not isinstance(error, RunsteadError):
                raise error
            if error.code in LOSSES and (error.code != "NOT_FOUND" or self._is_own(call)):
                self._lose(error.detail)
                raise LeaseLostError(error.detail) from error
            if not error.retryable:
                raise error
            pause = asyncio.ensure_future(self._sleep(backoff.next_delay_s(error.retry_after_s)))
            try:
                await _wait_for_first(pause, until)
            finally:
                pause.cancel()
        raise LeaseLostError(f"This worker no longer has the run {self.run.run_id}")

    def _is_own(self, call: Call[Any]) -> bool:
        """Whether the call is about this run, and not about a child run."""
        own = path("runs", self.run.run_id)
        # A large value may be missing from a run that exists.
        is_artifact = call.method == "GET" and call.path.startswith(f"{own}/artifacts/")
        return call.path == own or (call.path.startswith(f"{own}/") and not is_artifact)


async def _wait_for_first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
