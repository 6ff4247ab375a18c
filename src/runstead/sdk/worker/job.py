"""One claimed run in a worker: its handler, its lease, and its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.client_base import Calls
from runstead.sdk.durable.context import Context, LeaseLostError, RunFailed
from runstead.sdk.durable.suspension import Parked
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.run import Completed, TerminalStatus
from runstead.sdk.routes.call import Call, path
from runstead.sdk.transport.retry import Retries
from runstead.sdk.worker.handler import Handler, blocks, call_handler, failed, succeeded
from runstead.sdk.worker.lease_renewal import LOSSES, Renewals, within
from runstead.sdk.worker.log_handler import install, logging_to

T = TypeVar("T")

logger = logging.getLogger("runstead.sdk.worker.worker")

#: How long a handler that is cancelled because the worker leaves may take to clean up.
_CLEANUP_S: Final = 5.0


def _is_parked(handling: "asyncio.Future[Any]") -> bool:
    """Whether the run waits by now, and is nobody's until it goes on."""
    return not handling.cancelled() and isinstance(handling.exception(), Parked)


class Job:
    """`work()` returns once the run is completed, lost or released. `dismiss()` asks it to release the run now."""

    def __init__(
        self,
        run: ClaimedRun,
        handler: Handler,
        client: AsyncClient,
        release: Callable[[ClaimedRun, str], Awaitable[None]],
        renewals: Renewals,
        retries: Retries,
        sleep: Callable[[float], Awaitable[object]],
        handled: Callable[["Job"], None],
    ) -> None:
        """`client` carries the original credential. `handled` is called once the handler is done and only the run's
        completion is left to send.
        """
        self.run = run
        self._handler = handler
        self._client = client
        self._release = release
        self._renewals = renewals
        self._retries = retries
        self._sleep = sleep
        self._handled = handled
        self._calls = Calls()
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._dismissed: asyncio.Future[None] = loop.create_future()
        self._context = Context(run, self._calls, self._tell, sleep)

    def dismiss(self) -> None:
        _settle(self._dismissed)

    async def work(self) -> None:
        self._lease = self._renewals.hold(self.run, self._lose)
        handling = asyncio.ensure_future(self._handle())
        try:
            await self._first(handling, self._lost, self._dismissed)
            if handling.done() and not self._lost.done():
                finished = _is_parked(handling)
                if not finished:
                    self._handled(self)
                    finished = await self._finish(self._completion(handling))
            else:
                finished = False
                await self._stop(handling)
            if not finished and self._lost.done():
                await self._let_go()
            elif not finished:
                stopped = self._dismissed.done()
                why = (
                    "The worker stopped before the run was done" if stopped else "Its completion was refused"
                )
                await self._release(self.run, why)
        finally:
            self._context.close()
            self._renewals.drop(self._lease)
            handling.cancel()

    async def _handle(self) -> Any:
        """What the handler returns or raises, once all that it told is stored."""
        install()
        try:
            with logging_to(self._context):
                result = await call_handler(self._handler, self.run, self._context)
        except Exception:
            with suppress(LeaseLostError, RunsteadError):  # why the handler failed is the better story
                await self._context.flush()
            raise
        await self._context.finish()
        return result

    def _completion(self, handling: "asyncio.Future[Any]") -> Call[Completed]:
        if handling.cancelled():
            error: BaseException | None = RunFailed("The handler was cancelled", "HANDLER_CANCELLED")
        else:
            error = handling.exception()
        if error is None:
            return succeeded(self.run, self._context, self._calls, handling.result())
        logger.info("Run %s failed: %s", self.run.run_id, type(error).__name__)
        return failed(self.run, self._context, self._calls, error)

    async def _finish(self, completion: Call[Completed]) -> bool:
        """Whether the server took the completion, or said that the attempt has no say any more."""
        # Renewal may have given the lease up by the clock; the server decides whether it was. The fence makes asking safe.
        try:
            answer = await self._send(completion, self._dismissed)
        except LeaseLostError:
            return not self._dismissed.done()
        except RunsteadError as error:
            logger.warning("The completion of run %s was refused: %s", self.run.run_id, error)
            refused = RunFailed(f"The completion was refused: {error.detail}", "COMPLETION_REFUSED")
            try:
                answer = await self._send(
                    failed(self.run, self._context, self._calls, refused), self._dismissed
                )
            except (LeaseLostError, RunsteadError):
                return False
        if not answer.completed:
            logger.info("Run %s had already ended as %s", self.run.run_id, answer.run.status)
        return True

    async def _stop(self, handling: "asyncio.Future[Any]") -> None:
        self._context.close()
        # Nothing stops a thread. It keeps its place until it ends by itself, so that the worker never runs more than
        # it may; only a worker that is leaving goes without it.
        if not blocks(self._handler):
            handling.cancel()
        await self._first(handling, self._dismissed)
        if not blocks(self._handler):
            await within(_CLEANUP_S, handling, self._sleep)
        if handling.done() and not handling.cancelled() and handling.exception() is not None:
            logger.debug("Run %s was stopped: %r", self.run.run_id, handling.exception())

    async def _let_go(self) -> None:
        """Tell a run that was ended from outside that its worker has stopped."""
        try:
            now = await self._client.get_run(self.run.run_id)
            if now.terminal:
                await self._client.complete(
                    self.run.run_id,
                    cast(TerminalStatus, now.status),
                    attempt=self.run.attempt,
                    lease_token=self.run.lease_token,
                )
        except RunsteadError as error:
            logger.debug("Run %s was not told that its worker stopped: %s", self.run.run_id, error)

    def _lose(self, why: str) -> None:
        logger.warning("Run %s is lost: %s", self.run.run_id, why)
        self._renewals.drop(self._lease)
        self._context.close()
        _settle(self._lost)

    async def _tell(self, call: Call[T]) -> T:
        with logging_to(None):  # what it takes to tell is no part of what happened
            return await self._send(call, self._lost)

    async def _send(self, call: Call[T], until: "asyncio.Future[None]") -> T:
        """Send through outages of any length, until then. LeaseLostError where the attempt has no say any more."""
        outages = 0
        while not until.done():
            sending = asyncio.ensure_future(self._client.send(call))
            try:
                await self._first(sending, until)
            finally:
                sending.cancel()
            if not sending.done():
                break
            error = sending.exception()
            if error is None:
                return sending.result()
            if not isinstance(error, RunsteadError):
                raise error
            if error.code in LOSSES and (error.code != "NOT_FOUND" or self._is_mine(call)):
                self._lose(error.detail)
                raise LeaseLostError(error.detail) from error
            if not error.retryable:
                raise error
            pause = asyncio.ensure_future(self._sleep(self._retries.delay_s(outages, error.retry_after_s)))
            try:
                await self._first(pause, until)
            finally:
                pause.cancel()
            outages += 1
        raise LeaseLostError(f"Run {self.run.run_id} is not this worker's any more")

    def _is_mine(self, call: Call[Any]) -> bool:
        """Whether the call is about this run, and not about one below it."""
        mine = path("runs", self.run.run_id)
        return call.path == mine or call.path.startswith(f"{mine}/")

    async def _first(self, *futures: "asyncio.Future[Any]") -> None:
        """Wait for whichever comes first."""
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
