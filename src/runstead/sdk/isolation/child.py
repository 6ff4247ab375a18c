"""The process of one handler: `python -m runstead.sdk.isolation.child <descriptor> <parent>`.

The handler runs in the main thread, so that SIGTERM reaches it as asyncio.CancelledError, once. Beside a plain
function the event loop runs in another thread.
"""

import asyncio
import contextlib
import contextvars
import ctypes
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from runstead.sdk import tracing
from runstead.sdk.app import App, Served, call_served
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.durable.history import History
from runstead.sdk.durable.step_errors import error_detail
from runstead.sdk.durable.step_results import error_code, failed_step_of, is_final, without_surrogates
from runstead.sdk.durable.suspension import Suspend
from runstead.sdk.errors import RunFailed
from runstead.sdk.isolation.channel import Channel, frame, receive_blocking
from runstead.sdk.isolation.child_attempt import ChildAttempt, ParentLink
from runstead.sdk.isolation.loading import load
from runstead.sdk.isolation.messages import (
    CallFailed,
    CallResult,
    FromWorker,
    Outcome,
    Raised,
    Returned,
    StartRun,
    Suspended,
)
from runstead.sdk.models.event import Event
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.user_types import NOT_JSON
from runstead.sdk.worker.log_handler import install, logging_to

T = TypeVar("T")

_PR_SET_PDEATHSIG: Final = 1
_TERMINATED: Final = 128 + signal.SIGTERM
#: How long the worker may take to read the last messages.
_EXIT_TIMEOUT_S: Final = 5.0


def main() -> None:
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    _exit_with_parent(parent)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    start = receive_blocking(connection, StartRun)
    if start is None:
        return
    _apply_settings(start)
    try:
        app = load(start.app)
        if not isinstance(app, App):
            raise TypeError(f"{start.app} is no App")
        # The worker enforces the timeout: its time includes the start of this process.
        served = msgspec.structs.replace(app.served(start.target), timeout_seconds=None)
    except BaseException as error:  # noqa: BLE001 - any exception of the import is reported as the run's error
        connection.sendall(frame(_raised(error, "APP_NOT_LOADED")))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_EXIT_TIMEOUT_S)
        with contextlib.suppress(OSError):
            connection.recv(1)
        return
    process = _HandlerProcess(connection, start, app, served)
    if served.blocks:
        _run_in_main_thread(process)
    else:
        asyncio.run(process.serve())


def _exit_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when the worker ends. On other systems the worker's guard process kills it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_TERMINATED)


def _exit() -> NoReturn:
    """Exit at once, without waiting for threads or exit handlers."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # so that the exit status names SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(_TERMINATED)


def _apply_settings(start: StartRun) -> None:
    sys.argv = start.argv
    known = set(sys.path)
    sys.path = (
        start.sys_path if start.exact_path else sys.path + [p for p in start.sys_path if p not in known]
    )
    if start.memory_mb is not None:
        size = start.memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if start.cpu_seconds is not None:
        soft = int(time.process_time()) + start.cpu_seconds
        _, current_hard = resource.getrlimit(resource.RLIMIT_CPU)
        hard = soft + 1 if current_hard == resource.RLIM_INFINITY else min(soft + 1, current_hard)
        resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard), hard))


def _raised(error: BaseException, code: str | None = None, block_step_id: str | None = None) -> Raised:
    if isinstance(error, RunFailed):
        return Raised(
            outcome="declared",
            message=error.message,
            code=error.code,
            detail=msgspec.json.encode(error.detail),
        )
    cause = failed_step_of(error)
    return Raised(
        outcome="lost" if isinstance(error, LeaseLostError) else "error",
        message=without_surrogates(str(error)),
        code="OUT_OF_MEMORY" if isinstance(error, MemoryError) else code or error_code(error),
        detail=msgspec.json.encode(error_detail(error)),
        step_id=None if cause is None else cause.step_id,
        block_step_id=block_step_id,
        final=isinstance(error, Exception) and is_final(error),
    )


class _MainThread:
    """Runs functions in the main thread for the event loop in the other thread."""

    def __init__(self, on_stop: Callable[[], bool]) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._on_stop = on_stop
        self.stopped = False

    async def call(self, work: Callable[[], T], _name: str) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                settle, outcome = future.set_result, context.run(work)
            except (Exception, Suspend, SystemExit, BaseExceptionGroup) as error:  # noqa: BLE001 - raised again
                loop.call_soon_threadsafe(future.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, outcome)

        self._queue.put(run)
        return await future

    def close(self) -> None:
        self._queue.put(None)

    def run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self.stopped:
            self.stopped = True
            if self._on_stop():
                raise asyncio.CancelledError


def _run_in_main_thread(process: "_HandlerProcess") -> None:
    main_thread = _MainThread(process.stops)
    process.run_plain = main_thread.call
    signal.signal(signal.SIGTERM, main_thread.stop)

    def loop() -> None:
        try:
            asyncio.run(process.serve())
        finally:
            main_thread.close()

    thread = threading.Thread(target=loop, name="runstead-loop", daemon=True)
    thread.start()
    try:
        main_thread.run()
        thread.join()
    except asyncio.CancelledError:
        _exit()


class _HandlerProcess:
    """Runs the handler, and exchanges messages with the worker."""

    def __init__(self, connection: socket.socket, start: StartRun, app: App, served: Served) -> None:
        self._app = app
        self._connection = connection
        self._start = start
        self._served = served
        self._finished = False
        self._attempt: ChildAttempt | None = None
        self.run_plain: Callable[[Callable[[], Any], str], Any] | None = None

    def stops(self) -> bool:
        """Return whether SIGTERM interrupts the handler: not in the cleanup after one of its calls found the loss."""
        if self._attempt is None:
            return True
        self._attempt.stopping = True
        return not self._attempt.cleaning_up

    async def serve(self) -> None:
        channel: Channel[FromWorker] = await Channel.over(self._connection, FromWorker)
        link = ParentLink(channel)
        run = msgspec.json.decode(self._start.run, type=ClaimedRun)
        attempt = self._attempt = ChildAttempt(run, link)
        handling = asyncio.ensure_future(self._handle(run, attempt))
        listening = asyncio.ensure_future(self._listen(link))
        if self.run_plain is None:

            def stop() -> None:
                if self.stops():
                    handling.cancel()

            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        await asyncio.wait([handling])
        if handling.cancelled():
            _exit()
        self._finished = True
        outcome = handling.result()
        try:
            data = attempt.completion_data()
        except (TypeError, ValueError) as error:
            outcome = _raised(error)
        else:
            channel.send(data)
        channel.send(outcome)
        await asyncio.wait([listening], timeout=_EXIT_TIMEOUT_S)
        channel.close()

    async def _listen(self, link: ParentLink) -> None:
        while (message := await link.channel.receive()) is not None:
            if isinstance(message, CallResult | CallFailed):
                link.resolve(message)
        if not self._finished:
            # The worker is gone: the handler's outcome cannot be reported.
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os._exit(_TERMINATED)

    async def _handle(self, run: ClaimedRun, attempt: ChildAttempt) -> Outcome:
        history = History(msgspec.json.decode(self._start.history, type=list[Event]))
        history.mark_timed_out(self._start.resumed)
        attempt.on_changed_code = self._served.on_changed_code
        self._app.prepare(attempt)
        attempt.trace = tracing.attempt_span(run)
        tracing.continue_from(run)
        attempt.begin(history, self._start.tries)
        try:
            arguments = self._served.arguments.of(attempt.readable(run))
            install()
            with logging_to(attempt):
                result = await call_served(self._served, attempt, arguments, self.run_plain)
            attempt.check_finished(self._served.function)
            await attempt.finish()
            try:
                return Returned(output=msgspec.json.encode(result))
            except NOT_JSON as error:
                return _raised(RunFailed(f"The result is not JSON: {error}", "RESULT_NOT_JSON"))
        except Suspend as suspend:
            return Suspended(request=suspend.request)
        except (Exception, SystemExit, BaseExceptionGroup) as error:  # noqa: BLE001 - reported to the worker
            if (suspended := attempt.suspension_behind(error)) is not None:
                return Suspended(request=suspended.request)
            return _raised(error, block_step_id=attempt.first_block_step(error))
        finally:
            attempt.end()


if __name__ == "__main__":
    main()
