"""The process of one handler: `python -m runstead.sdk.isolation.child <descriptor> <parent>`.

A coroutine runs in the main thread; a plain function too, with the event loop beside it, so that SIGTERM reaches either:
as asyncio.CancelledError, once.
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
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from runstead.sdk.app import App, Served, call_served
from runstead.sdk.durable.emitter import LeaseLostError, RunFailed
from runstead.sdk.durable.history import History
from runstead.sdk.durable.step_results import StepFailed, error_code, failed_step_of, is_final
from runstead.sdk.durable.suspension import Suspend
from runstead.sdk.isolation.channel import Channel, frame, take_now
from runstead.sdk.isolation.child_context import ChildContext, ParentLink
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
from runstead.sdk.worker.log_handler import install, logging_to

T = TypeVar("T")

_PR_SET_PDEATHSIG: Final = 1
_TRACEBACK_CHARS: Final = 64 * 1024
_TERMINATED: Final = 128 + signal.SIGTERM
#: How long the worker may take to read the last of it.
_EXIT_TIMEOUT_S: Final = 5.0


def main() -> None:
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    _exit_with_parent(parent)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    begin = take_now(connection, StartRun)
    if begin is None:
        return
    _apply_settings(begin)
    try:
        app = load(begin.app)
        if not isinstance(app, App):
            raise TypeError(f"{begin.app} is no App")
        # The worker has the clock: what it counts begins before this process does.
        served = msgspec.structs.replace(app.served(begin.target), timeout_seconds=None)
    except BaseException as error:  # noqa: BLE001 - whatever importing it raises is what the run is told
        connection.sendall(frame(_raised(error, "APP_NOT_LOADED")))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_EXIT_TIMEOUT_S)
        with contextlib.suppress(OSError):
            connection.recv(1)
        return
    work = _HandlerProcess(connection, begin, served)
    if served.blocks:
        _run_in_main_thread(work)
    else:
        asyncio.run(work.serve())


def _exit_with_parent(parent: int) -> None:
    """Where the worker's machine is the kernel's to ask; everywhere the worker's guard does it, a moment later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_TERMINATED)


def _exit() -> NoReturn:
    """At once: threads that nothing stops, and what runs at exit, must not hold it up."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who looks at how it ended sees why
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(_TERMINATED)


def _apply_settings(begin: StartRun) -> None:
    sys.argv = begin.argv
    known = set(sys.path)
    sys.path = (
        begin.sys_path if begin.exact_path else sys.path + [p for p in begin.sys_path if p not in known]
    )
    if begin.memory_mb is not None:
        size = begin.memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if begin.cpu_seconds is not None:
        until = int(time.process_time()) + begin.cpu_seconds
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        hard = until + 1 if most == resource.RLIM_INFINITY else min(until + 1, most)
        resource.setrlimit(resource.RLIMIT_CPU, (min(until, hard), hard))


def _raised(error: BaseException, code: str | None = None) -> Raised:
    if isinstance(error, RunFailed):
        return Raised(
            outcome="declared",
            message=error.message,
            code=error.code,
            detail=msgspec.json.encode(error.detail),
        )
    detail = getattr(error, "detail", None) if isinstance(error, StepFailed) else None
    if detail is None:
        told = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
        detail = {"traceback": told.encode("utf-8", "replace").decode()}
    cause = failed_step_of(error)
    return Raised(
        outcome="lost" if isinstance(error, LeaseLostError) else "error",
        message=str(error).encode("utf-8", "replace").decode(),
        code="OUT_OF_MEMORY" if isinstance(error, MemoryError) else code or error_code(error),
        detail=msgspec.json.encode(detail),
        step_id=None if cause is None else cause.step_id,
        final=isinstance(error, Exception) and is_final(error),
    )


class _MainThread:
    """The main thread, which does what the loop beside it gives it."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.stopped = False

    async def do(self, work: Callable[[], T], _name: str) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                settle, outcome = future.set_result, context.run(work)
            except (Exception, Suspend, SystemExit) as error:  # noqa: BLE001 - it is raised again where it is awaited
                loop.call_soon_threadsafe(future.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, outcome)

        self._todo.put(run)
        return await future

    def close(self) -> None:
        self._todo.put(None)

    def work(self) -> None:
        while (one := self._todo.get()) is not None:
            one()

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self.stopped:
            self.stopped = True
            raise asyncio.CancelledError


def _run_in_main_thread(work: "_HandlerProcess") -> None:
    desk = _MainThread()
    work.run_plain = desk.do
    signal.signal(signal.SIGTERM, desk.stop)

    def loop() -> None:
        try:
            asyncio.run(work.serve())
        finally:
            desk.close()

    thread = threading.Thread(target=loop, name="runstead-loop", daemon=True)
    thread.start()
    try:
        desk.work()
        thread.join()
    except asyncio.CancelledError:
        _exit()


class _HandlerProcess:
    def __init__(self, connection: socket.socket, begin: StartRun, served: Served) -> None:
        self._connection = connection
        self._begin = begin
        self._served = served
        self._over = False
        self.run_plain: Callable[[Callable[[], Any], str], Any] | None = None

    async def serve(self) -> None:
        channel: Channel[FromWorker] = await Channel.over(self._connection, FromWorker)
        link = ParentLink(channel)
        run = msgspec.json.decode(self._begin.run, type=ClaimedRun)
        context = ChildContext(run, link)
        handling = asyncio.ensure_future(self._handle(run, context))
        listening = asyncio.ensure_future(self._listen(link))
        if self.run_plain is None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handling.cancel)
        await asyncio.wait([handling])
        if handling.cancelled():
            _exit()
        self._over = True
        outcome = handling.result()
        try:
            note = context.note()
        except (TypeError, ValueError) as error:
            outcome = _raised(error)
        else:
            channel.put(note)
        channel.put(outcome)
        await asyncio.wait([listening], timeout=_EXIT_TIMEOUT_S)
        channel.close()

    async def _listen(self, link: ParentLink) -> None:
        while (message := await link.channel.take()) is not None:
            if isinstance(message, CallResult | CallFailed):
                link.settle(message)
        if not self._over:
            # Nobody is there to take what comes of it.
            if os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os._exit(_TERMINATED)

    async def _handle(self, run: ClaimedRun, context: ChildContext) -> Outcome:
        told = msgspec.json.decode(self._begin.history, type=list[Event])
        history = History(told)
        history.mark_answered(self._begin.answered)
        context.begin(history, self._begin.rounds)
        try:
            arguments = self._served.arguments.of(run)
            install()
            with logging_to(context):
                result = await call_served(self._served, context, arguments, self.run_plain)
            context.check_finished()
            await context.finish()
            try:
                return Returned(output=msgspec.json.encode(result))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                return _raised(RunFailed(f"The result is not JSON: {error}", "RESULT_NOT_JSON"))
        except Suspend as suspension:
            return Suspended(wanted=suspension.wanted)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is told to the worker
            if context.left is not None:  # it was left already, and something in it made a failure of that
                return Suspended(wanted=context.left.wanted)
            return _raised(error)
        finally:
            context.end()


if __name__ == "__main__":
    main()
