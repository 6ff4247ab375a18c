"""Starts the demo's processes, detects when one dies, and ends all of them at the end."""

import asyncio
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

_READY: Final = re.compile(r"runstead is ready on (http://\S+)")
_READY_S: Final = 10.0
#: Longer than the 10 s that a server may take to finish its requests.
_END_S: Final = 12.0
_ERROR_LINES: Final = 40


class ChildDiedError(Exception):
    """A process of the demo has ended too early."""


@dataclass
class Child:
    name: str
    process: Process
    stderr: Path
    ending: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid


class Children:
    """The demo's processes. At the end of `async with Children(folder) as children:` all of them are ended."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets their stderr as files, so that no process waits for a reader."""
        self._folder = folder
        self._all: list[Child] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            # The server was started first and is ended last: the workers release their runs at the server.
            for child in reversed(self._all):
                await self.end(child)
        finally:
            for child in self._all:
                if child.process.returncode is None:
                    child.process.kill()
            for watcher in self._watchers:
                watcher.cancel()
            if not self._died.cancel():
                self._died.exception()  # retrieved, so that asyncio does not log it

    async def start(self, name: str, *arguments: str, environment: Mapping[str, str]) -> Child:
        """Start Python with these arguments."""
        stderr = self._folder / f"{name}.stderr"
        with stderr.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=sink,
                env=environment,
                # Ctrl-C on a terminal goes to the whole group. Only this program ends the children, in order.
                start_new_session=True,
            )
        child = Child(name, process, stderr)
        self._all.append(child)
        self._watchers.append(asyncio.ensure_future(self._watch_child(child)))
        return child

    async def ready(self, child: Child) -> str:
        """Wait until a server prints that it accepts requests, and return its URL."""
        assert child.process.stdout is not None
        try:
            async with asyncio.timeout(_READY_S):
                while line := await child.process.stdout.readline():
                    if match := _READY.match(line.decode()):
                        return match[1]
        except TimeoutError:
            raise ChildDiedError(f"{child.name} was not ready within {_READY_S:.0f} s") from None
        raise ChildDiedError(f"{child.name} ended before it was ready")

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the work. Raise ChildDiedError if a process dies meanwhile: the work might never end."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._died), return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                self._died.result()
            return await task
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def kill(self, child: Child) -> int:
        """Send SIGKILL, and return the exit code."""
        child.ending = True
        child.process.kill()
        return await child.process.wait()

    async def end(self, child: Child) -> int:
        """Send SIGTERM, and SIGKILL if the process does not end. Return the exit code."""
        child.ending = True
        if child.process.returncode is None:
            child.process.terminate()
            try:
                async with asyncio.timeout(_END_S):
                    await child.process.wait()
            except TimeoutError:
                return await self.kill(child)
        return await child.process.wait()

    def running(self) -> list[Child]:
        """Return the processes that should be running, the last one first."""
        return [child for child in reversed(self._all) if not child.ending]

    def error_output(self) -> list[tuple[str, str]]:
        """Return the last lines of stderr of each process that wrote any."""
        output = [(child.name, child.stderr.read_text(errors="replace").splitlines()) for child in self._all]
        return [(name, "\n".join(lines[-_ERROR_LINES:])) for name, lines in output if lines]

    async def _watch_child(self, child: Child) -> None:
        code = await child.process.wait()
        if not child.ending and not self._died.done():
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._died.set_exception(ChildDiedError(f"{child.name} {how} in the middle of the demo"))
