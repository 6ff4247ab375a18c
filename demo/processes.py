"""Starting the demo's processes, noticing when one dies, and ending all of them whatever happens."""

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
#: Longer than the 10 s that a server may take for what is in flight.
_END_S: Final = 12.0
_COMPLAINT_LINES: Final = 40


class ChildDiedError(Exception):
    """A process is not there that should be."""


@dataclass
class Child:
    name: str
    process: Process
    stderr: Path
    leaving: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid


class Children:
    """`async with Children(folder) as children:` — on the way out, in whatever way, all of them are ended."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes their stderr: in files, so that no child ever waits for a reader."""
        self._folder = folder
        self._all: list[Child] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            # The server, which is the first, goes last: the workers still have to give their runs back to it.
            for child in reversed(self._all):
                await self.end(child)
        finally:
            for child in self._all:
                if child.process.returncode is None:
                    child.process.kill()
            for watcher in self._watchers:
                watcher.cancel()
            if not self._died.cancel():
                self._died.exception()  # looked at: a death that nobody waited for is no error of its own

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
                # Ctrl-C on a terminal goes to a whole group. The children are ended in order, by this program alone.
                start_new_session=True,
            )
        child = Child(name, process, stderr)
        self._all.append(child)
        self._watchers.append(asyncio.ensure_future(self._notice(child)))
        return child

    async def ready(self, child: Child) -> str:
        """The url of a server, once it says on stdout that it accepts requests."""
        assert child.process.stdout is not None
        try:
            async with asyncio.timeout(_READY_S):
                while line := await child.process.stdout.readline():
                    if said := _READY.match(line.decode()):
                        return said[1]
        except TimeoutError:
            raise ChildDiedError(f"{child.name} was not ready within {_READY_S:.0f} s") from None
        raise ChildDiedError(f"{child.name} ended before it was ready")

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, unless a child dies meanwhile: what is waited for may then never come. ChildDiedError."""
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
        """SIGKILL: the process gets no chance to do anything more. Its exit code."""
        child.leaving = True
        child.process.kill()
        return await child.process.wait()

    async def end(self, child: Child) -> int:
        """SIGTERM, and SIGKILL for one that does not listen. Its exit code."""
        child.leaving = True
        if child.process.returncode is None:
            child.process.terminate()
            try:
                async with asyncio.timeout(_END_S):
                    await child.process.wait()
            except TimeoutError:
                return await self.kill(child)
        return await child.process.wait()

    def left(self) -> list[Child]:
        """Those that should be running, the last one first."""
        return [child for child in reversed(self._all) if not child.leaving]

    def complaints(self) -> list[tuple[str, str]]:
        """The last lines that each child wrote to stderr, for those that wrote any."""
        told = [(child.name, child.stderr.read_text(errors="replace").splitlines()) for child in self._all]
        return [(name, "\n".join(lines[-_COMPLAINT_LINES:])) for name, lines in told if lines]

    async def _notice(self, child: Child) -> None:
        code = await child.process.wait()
        if not child.leaving and not self._died.done():
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._died.set_exception(ChildDiedError(f"{child.name} {how} in the middle of the demo"))
