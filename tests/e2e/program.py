"""`runstead worker` and `runstead dev` as processes, and an app for them."""

import queue
import signal
import subprocess
import threading
from pathlib import Path

from tests.support.server import PROGRAM, environment
from tests.support.until import until

JOBS = """
import asyncio
from pathlib import Path

from runstead.sdk import App

app = App()
not_an_app = 7
VERSION = "one"


def note(line):
    with open("done.txt", "a") as file:
        file.write(line + "\\n")


@app.task("count")
async def count(ctx, number: int) -> int:
    note(f"count {number}")
    return number + 1


@app.task("slow")
async def slow(ctx, seconds: float) -> str:
    note("slow began")
    await asyncio.sleep(seconds)
    return "slow"


@app.task("version")
async def version(ctx) -> str:
    return VERSION


@app.agent("support")
async def support(ctx, run) -> str:
    await ctx.emit({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hello"})
    return run.agent_id
"""


class Program:
    """A command that runs until it is ended. `lines` is its output so far, of both streams."""

    def __init__(self, directory: Path, *arguments: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=directory,
            env=environment(PYTHONUNBUFFERED="1", **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for_line(self, words, seconds=60.0):
        """Wait for a line with these words, and return the first one."""

        def found():
            return next((line for line in self.lines if words in line), None)

        return until(found, f"{words!r} among {self.lines}", seconds)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def ended(self, seconds=60.0):
        return self.process.wait(timeout=seconds)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def children(pid):
    """Return the ids of a process's descendants."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            try:
                parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found += [int(one.name), *children(int(one.name))]
    return found


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
