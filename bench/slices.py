"""Compares the CPU time of a lifecycle in several versions, which serve short slices of load in turn.

    python bench/slices.py before=../main/.venv/bin/runstead after=.venv/bin/runstead --concurrency 16

Each `name=command` is the `runstead` of a virtual environment. All servers run at the same time on fresh databases, and
all but one are idle. A slice is `--lifecycles` lifecycles, so that a change of the machine's other load affects all
versions alike: this is steadier than `turns.py`, which measures starts, latencies and memory too. Prints the median of
the server's CPU time and of the rate, and of their ratios to the first version. Linux only.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from turns import READY, databases

from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import find_project_id, register_worker
from runstead.bench.event_loop import run
from runstead.bench.lifecycle import Plan, requests
from runstead.core.identity.project import new_key

WARM_UP_SLICES = 3


class Server:
    """A version that serves on a fresh database."""

    def __init__(self, command: str, database: str) -> None:
        self._key = new_key()
        settings = {
            "RUNSTEAD_DATABASE_URL": database,
            "RUNSTEAD_BOOTSTRAP_KEY": self._key,
            "RUNSTEAD_PORT": "0",
        }
        self.process = subprocess.Popen(
            [command, "serve"], env=os.environ | settings, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = next((line for line in self.process.stdout if line.startswith(READY)), None)
        if line is None:
            raise SystemExit(f"{command} did not start")
        self._target = Target.from_url(line.removeprefix(READY).strip())
        self.cpu_us: list[float] = []
        self.rates: list[float] = []

    async def connect(self, concurrency: int) -> None:
        self._callers = [Connection(self._target) for _ in range(concurrency)]
        headers, first = self._target.headers(self._key), self._callers[0]
        worker = await register_worker(first, "default", headers, kind="bench")
        project_id = await find_project_id(first, "default", headers)
        self._plan = Plan.build(key_headers=headers, worker=worker, project_id=project_id)

    async def slice(self, lifecycles: int) -> None:
        """Serve this many lifecycles, and note the CPU time of one and the rate."""
        left = iter(range(lifecycles))
        used_ns, began = self._used_ns(), time.perf_counter()
        await asyncio.gather(*(self._work(caller, left) for caller in self._callers))
        self.rates.append(lifecycles / (time.perf_counter() - began))
        self.cpu_us.append((self._used_ns() - used_ns) / 1000 / lifecycles)

    async def _work(self, caller: Connection, left: Iterator[int]) -> None:
        for _ in left:
            lifecycle = requests(self._plan)
            request = next(lifecycle)
            while True:
                status, body = await caller.request("POST", request.path, request.body, request.headers)
                assert status == request.status, (request.name, status, body)
                try:
                    request = lifecycle.send(body)
                except StopIteration:
                    break

    def _used_ns(self) -> int:
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


async def measure(servers: list[Server], concurrency: int, lifecycles: int, seconds: float) -> None:
    for server in servers:
        await server.connect(concurrency)
        for _ in range(WARM_UP_SLICES):
            await server.slice(lifecycles)
        server.cpu_us.clear()
        server.rates.clear()
    gc.freeze()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for server in servers:
            await server.slice(lifecycles)
        servers.reverse()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="name=command")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--lifecycles", type=int, default=150, help="of a slice")
    options = parser.parse_args()
    servers: dict[str, Server] = {}
    with databases(options.engine) as fresh, ExitStack() as stack:
        for version in options.versions:
            name, command = version.split("=", 1)
            servers[name] = Server(command, fresh())
            stack.callback(servers[name].stop)
        run(measure([*servers.values()], options.concurrency, options.lifecycles, options.seconds))
    report(servers)


def report(servers: dict[str, Server]) -> None:
    first = next(iter(servers.values()))
    print("| version | CPU time, µs | ratio | lifecycles/s | ratio |\n|---|---|---|---|---|")
    for name, server in servers.items():
        cells = [name]
        for own, others in ((server.cpu_us, first.cpu_us), (server.rates, first.rates)):
            ratios = [mine / other for mine, other in zip(own, others, strict=True)]
            cells += [f"{statistics.median(own):.0f}", f"{statistics.median(ratios):.3f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
