"""`runstead serve --processes N`: several servers of one store behind one port, kept up.

Each process is a replica like any other: nothing is shared but the port. On Linux every process has a listening socket of its
own (SO_REUSEPORT: the kernel spreads connections by their addresses), elsewhere all share one. The sockets belong to
the supervisor, so a process that dies leaves its unaccepted connections to the one that takes its place.
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
    """What a process reads from its first line of standard input. `directory` holds the sockets by which processes
    show each other their metrics.
    """

    settings: Settings
    number: int
    descriptor: int
    directory: str


@dataclass
class _Slot:
    number: int
    sock: socket.socket
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)  # a restart and a renewal take turns
    process: asyncio.subprocess.Process | None = None


class Supervisor:
    """`await run()` serves until SIGTERM or SIGINT and returns the exit status; SIGHUP replaces the processes one by one."""

    def __init__(self, settings: Settings, out: TextIO = sys.stdout) -> None:
        self._settings = settings
        self._processes = settings.processes
        self._out = out
        self._stopping = asyncio.Event()
        self._renewals = asyncio.Event()
        self._directory = ""
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """1 where the first processes do not become ready: they have said why. OSError where the address is taken."""
        loop = asyncio.get_running_loop()
        with ExitStack() as held:
            slots = [_Slot(number, sock) for number, sock in enumerate(self._sockets(held))]
            self._directory = held.enter_context(tempfile.TemporaryDirectory(prefix="runstead-"))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop, slots)
            loop.add_signal_handler(signal.SIGHUP, self._renewals.set)
            try:
                # The first one alone: it migrates the store, and shows the key that it may have made.
                if not await self._start(slots[0], forward=True):
                    return 1
                if not all(await asyncio.gather(*map(self._start, slots[1:]))):
                    return 1
                self._tell(url_of(slots[0].sock))
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
        if sys.platform != "linux":  # elsewhere SO_REUSEPORT lets one of them have every connection
            return [held.enter_context(listen(host, port))] * self._processes
        made: list[socket.socket] = []
        for _ in range(self._processes):
            made.append(held.enter_context(listen(host, port, share=True)))
            port = made[0].getsockname()[1]
        return made

    def _tell(self, url: str) -> None:
        print(f"{READY}{url}", file=self._out)
        print(f"  dashboard: {url}/ui", file=self._out)
        print(f"  processes: {self._processes}", file=self._out, flush=True)

    def _stop(self, slots: list[_Slot]) -> None:
        """At the first signal end well; a second one is passed on, and the processes then wait for no request."""
        if self._stopping.is_set():
            for slot in slots:
                _signal(slot.process, signal.SIGTERM)
        self._stopping.set()

    async def _start(self, slot: _Slot, *, forward: bool = False) -> bool:
        """Start a process in the slot; whether it became ready. The one that was there before goes on."""
        process = await self._spawn(slot)
        try:
            async with asyncio.timeout(limits.process_ready_s):
                ready = await self._ready(process, forward=forward)
        except TimeoutError:
            log.error(  # noqa: TRY400 - where it hangs is in its own log, if anywhere
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
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor alone, which passes it on once
        )
        assert process.stdin is not None
        # Through the pipe and not as arguments: settings hold secrets, and everyone can list arguments. The pipe stays open: its
        # end tells the process that the supervisor is gone.
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
        """Start another process where one ends: at once, and ever later where they end soon."""
        loop, delay = asyncio.get_running_loop(), 0.0
        while True:
            process, began = slot.process, loop.time()
            assert process is not None
            status = await process.wait()
            async with slot.starting:
                if slot.process is not process:
                    continue  # it was replaced, and ended for that
                log.error("a process ended; another one takes its place", process=slot.number, status=status)
                if loop.time() - began > limits.process_backoff_s_max:
                    delay = 0.0
                while True:
                    await asyncio.sleep(delay)
                    delay = min(max(delay * 2, 0.25), limits.process_backoff_s_max)
                    if await self._start(slot):
                        break

    async def _renew(self, slots: list[_Slot]) -> None:
        """At SIGHUP, one slot after the other: the new process is ready before the old one is asked to end."""
        while True:
            await self._renewals.wait()
            self._renewals.clear()
            log.info("replacing the processes", processes=len(slots))
            for slot in slots:
                async with slot.starting:
                    old = slot.process
                    started = await self._start(slot)
                if not started:
                    log.error("the new process did not start; the old ones go on", process=slot.number)
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
            log.error("a process did not end and is killed", pid=process.pid)  # noqa: TRY400 - no trace to show
            _signal(process, signal.SIGKILL)
            await process.wait()


def _signal(process: asyncio.subprocess.Process | None, number: int) -> None:
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


async def _drain(stream: asyncio.StreamReader) -> None:
    """A pipe that is not read would stop the process one day."""
    while await stream.read(4096):
        pass
