"""Shows the main use of Runstead on a new SQLite file: four runs, their events as they happen, and their outcomes.

Starts a server and workers as processes and uses them over HTTP only. Exits with 0 only if every run ended as
expected.
"""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from runstead import AsyncClient, RunsteadError, __version__

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from checks import Check
from processes import Child, ChildDiedError, Children
from scenarios import SCENARIO_S, Scenarios
from terminal import Terminal

HERE: Final = Path(__file__).resolve().parent
PROJECT: Final = "demo"


async def play(terminal: Terminal, folder: Path, looking: asyncio.Event | None) -> None:
    """Play the whole demo. With `looking` the server stays up until the event is set."""
    children = Children(folder)
    try:
        async with children:
            await _play(terminal, folder, children, looking)
    except (ChildDiedError, RunsteadError) as error:
        terminal.failure(str(error))
    except TimeoutError:
        terminal.failure(f"This part did not end within {SCENARIO_S:.0f} s")
    except Exception:  # noqa: BLE001 - an unexpected run can make a check raise: that is a failed check
        terminal.failure(traceback.format_exc())
    if terminal.failures:
        for name, text in children.error_output():
            terminal.output_of(name, text)


async def _play(terminal: Terminal, folder: Path, children: Children, looking: asyncio.Event | None) -> None:
    # Settings of another server and proxies must not affect the demo.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    key = f"vf_{secrets.token_hex(4)}_{secrets.token_hex(32)}"
    bootstrap = {"RUNSTEAD_BOOTSTRAP_KEY": key, "RUNSTEAD_BOOTSTRAP_PROJECT": PROJECT}

    server = await children.start(
        "server",
        *("-P", "-m", "runstead.cli", "serve", "--host", "127.0.0.1", "--port", "0"),
        *("--database", f"sqlite:///{folder / 'demo.db'}"),
        environment=environment | bootstrap,
    )
    url = await children.ready(server)
    terminal.note(f"server (pid {server.pid}) is ready on {url}, its store is new")

    async def start_worker(name: str) -> Child:
        worker = await children.start(
            name,
            *("-P", str(HERE / "worker.py"), "--url", url, "--project", PROJECT, "--name", name),
            *("--root", str(HERE.parent), "--artifacts", str(folder)),
            environment=environment | {"RUNSTEAD_KEY": key},
        )
        terminal.note(f"{name} (pid {worker.pid}) was started")
        return worker

    async with AsyncClient(url, key, project=PROJECT) as client:
        await Scenarios(client, children, terminal, HERE.parent, start_worker).run()
    terminal.title("The end: each process exits with 0 after SIGTERM")
    for child in children.running():
        if child is not server:
            terminal.checks([Check(f"exit code of {child.name}", 0, await children.end(child))])
    if looking is not None and not terminal.failures:
        terminal.dashboard(url, key, "Enter or Ctrl-C ends the server, and the demo.")
        await children.watch(looking.wait())
    terminal.checks([Check(f"exit code of {server.name}", 0, await children.end(server))])
    if looking is None and not terminal.failures:
        terminal.dashboard(
            url, key, "In a terminal, or with RUNSTEAD_DEMO_STAYS=1, the server stays up to look around."
        )


async def main() -> int:
    """Return 0 if all checks passed, 1 if not, 128 and the signal's number after an interrupt."""
    terminal = Terminal()
    signals: list[int] = []
    looking = asyncio.Event() if sys.stdout.isatty() or os.environ.get("RUNSTEAD_DEMO_STAYS") == "1" else None
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt(number: int) -> None:
        if terminal.waits_for_reader and looking is not None and not looking.is_set():
            looking.set()
            return
        signals.append(number)
        if len(signals) == 1:  # the end of all processes is bounded in time, so later signals are ignored
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)
    if looking is not None and sys.stdin.isatty():

        def enter() -> None:
            sys.stdin.readline()
            if terminal.waits_for_reader:
                looking.set()

        loop.add_reader(sys.stdin, enter)
    began = loop.time()
    terminal.print(f"Runstead {__version__}: durable runs, shown on four of them", "bold")
    try:
        with tempfile.TemporaryDirectory(prefix="runstead-demo-") as folder:
            await play(terminal, Path(folder), looking)
    except asyncio.CancelledError:
        if not signals:
            raise
        terminal.print("\nInterrupted. All processes of the demo were ended.")
        return 128 + signals[0]
    if terminal.failures:
        terminal.print(f"\nNot as expected: {terminal.failures}. They are marked above.", "bold red")
        return 1
    terminal.summary(loop.time() - began)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
