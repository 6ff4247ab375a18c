"""The supervisor of `runstead serve --processes N`: several servers of one store on one port. It restarts
processes.

Each process is a normal replica: only the port is shared. On Linux every process has its own listening socket
(SO_REUSEPORT: the kernel spreads connections by their addresses); on other systems all share one. The
supervisor owns the sockets, so the replacement of a process that ends gets its unaccepted connections.
"""

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final, TextIO

import msgspec
import structlog

from runstead.core import limits
from runstead.server.listening import READY, listen, url_of
from runstead.server.settings import Settings

log = structlog.get_logger()
_PROGRAM: Final = [sys.executable, "-P", "-m", "runstead.server.supervised"]


class Assignment(msgspec.Struct, frozen=True):
    """The first line on the standard input of a process, as JSON. `directory` holds the sockets for metrics
    (see process_metrics.py).
    """

    settings: Settings
    number: int
    descriptor: int
    directory: str


@dataclass
class _Slot:
    number: int
    sock: socket.socket
    starting: asyncio.Lock = field(
        default_factory=asyncio.Lock
    )  # only one of restart and replacement at a time
    process: asyncio.subprocess.Process | None = None


class Supervisor:
    """`await run()` serves until SIGTERM or SIGINT and returns the exit status.

    SIGHUP replaces the processes in turn.
    """

    def __init__(self, settings: Settings, out: TextIO = sys.stdout) -> None:
        self._settings = settings
        self._processes = settings.processes
        self._out = out
        self._stopping = asyncio.Event()
        self._renewals = asyncio.Event()
        self._directory = ""
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve. Returns 1 if the first processes do not become ready; they have printed why. OSError if the
        address is in use.
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as held:
            slots = [_Slot(number, sock) for number, sock in enumerate(self._sockets(held))]
            self._directory = held.enter_context(tempfile.TemporaryDirectory(prefix="runstead-"))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop, slots)
            loop.add_signal_handler(signal.SIGHUP, self._renewals.set)
            try:
                # The first process starts alone: it migrates the store, and prints the key if it created one.
                if not await self._start(slots[0], forward=True):
                    return 1
                if not all(await asyncio.gather(*map(self._start, slots[1:]))):
                    return 1
                self._print_ready(url_of(slots[0].sock, tls=self._settings.tls_cert is not None))
                kept = [asyncio.ensure_future(self._keep(slot)) for slot in slots]
                kept.append(asyncio.ensure_future(self._renew(slots)))
                await self._stopping.wait()
                for task in kept:
                    task.cancel()
                await asyncio.gather(*kept, return_exceptions=True)
            finally:
                for slot in slots:
                    slot.sock.close()  # from now on connections are refused
                await asyncio.gather(*(self._end(slot.process) for slot in slots))
        return 0

    def _sockets(self, held: ExitStack) -> list[socket.socket]:
        host, port = self._settings.host, self._settings.port
        if sys.platform != "linux":  # on other systems SO_REUSEPORT gives all connections to one socket
            return [held.enter_context(listen(host, port))] * self._processes
        made: list[socket.socket] = []
        for _ in range(self._processes):
            made.append(held.enter_context(listen(host, port, share=True)))
            port = made[0].getsockname()[1]
        return made

    def _print_ready(self, url: str) -> None:
        print(f"{READY}{url}", file=self._out)
        print(f"  dashboard: {url}/ui", file=self._out)
        print(f"  processes: {self._processes}", file=self._out, flush=True)

    def _stop(self, slots: list[_Slot]) -> None:
        """At the first signal, stop gracefully.

        A second one is passed on: the processes stop without waiting for requests.
        """
        if self._stopping.is_set():
            for slot in slots:
                _signal(slot.process, signal.SIGTERM)
        self._stopping.set()

    async def _start(self, slot: _Slot, *, forward: bool = False) -> bool:
        """Start a process in the slot. Returns whether it became ready. A previous process continues."""
        process = await self._spawn(slot)
        try:
            async with asyncio.timeout(limits.process_ready_s):
                ready = await self._ready(process, forward=forward)
        except TimeoutError:
            log.error(  # noqa: TRY400 - this trace would not show where the process hangs
                "a process did not become ready", process=slot.number, seconds=limits.process_ready_s
            )
            ready = False
        except asyncio.CancelledError:
            process.kill()
            raise
        if not ready:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            return False
        slot.process = process
        return True

    async def _spawn(self, slot: _Slot) -> asyncio.subprocess.Process:
        descriptor = slot.sock.fileno()
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C in a terminal reaches the supervisor only, which passes it on once
        )
        assert process.stdin is not None
        # Settings hold secrets, and every user can list the arguments of processes, so the pipe is used. It
        # stays open: its end shows the process that the supervisor has ended.
        assignment = Assignment(self._settings, slot.number, descriptor, self._directory)
        process.stdin.write(msgspec.json.encode(assignment) + b"\n")
        with suppress(ConnectionError):
            await process.stdin.drain()
        return process

    async def _ready(self, process: asyncio.subprocess.Process, *, forward: bool) -> bool:
        assert process.stdout is not None
        while line := (await process.stdout.readline()).decode(errors="replace"):
            if line.startswith(READY):
                reader = asyncio.ensure_future(_drain(process.stdout))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
                return True
            if forward:
                print(line, end="", file=self._out, flush=True)
        return False

    async def _keep(self, slot: _Slot) -> None:
        """Replace a process that ends: at once, and with a growing delay if processes end soon after their start."""
        loop, delay = asyncio.get_running_loop(), 0.0
        while True:
            process, began = slot.process, loop.time()
            assert process is not None
            status = await process.wait()
            async with slot.starting:
                if slot.process is not process:
                    continue  # it ended because it was replaced
                log.error("a process ended and is replaced", process=slot.number, status=status)
                if loop.time() - began > limits.process_backoff_s_max:
                    delay = 0.0
                while True:
                    await asyncio.sleep(delay)
                    delay = min(max(delay * 2, 0.25), limits.process_backoff_s_max)
                    if await self._start(slot):
                        break

    async def _renew(self, slots: list[_Slot]) -> None:
        """At SIGHUP, replace the processes in turn: the new process is ready before the old one is stopped."""
        while True:
            await self._renewals.wait()
            self._renewals.clear()
            log.info("replacing the processes", processes=len(slots))
            for slot in slots:
                async with slot.starting:
                    old = slot.process
                    started = await self._start(slot)
                if not started:
                    log.error("the new process did not start; the old ones continue", process=slot.number)
                    break
                await self._end(old)
            else:
                log.info("every process was replaced", processes=len(slots))

    async def _end(self, process: asyncio.subprocess.Process | None) -> None:
        if process is None:
            return
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(limits.shutdown_s + 2):
                await process.wait()
        except TimeoutError:
            log.error("a process did not end and is killed", pid=process.pid)  # noqa: TRY400 - a trace shows nothing
            _signal(process, signal.SIGKILL)
            await process.wait()


def _signal(process: asyncio.subprocess.Process | None, number: int) -> None:
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read and drop the output, because a full pipe would block the process."""
    while await stream.read(4096):
        pass
