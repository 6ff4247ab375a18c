"""Measures how many empty tasks one worker process finishes per second, with the server on the same machine.

    python bench/worker.py

Starts a server on a new SQLite file, creates runs, and starts `runstead worker noop:app`. The time is from the first
run's start to the last run's end, as the server recorded them. `--spy FILE` records the worker with py-spy.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from runstead.sdk import Client

HERE = Path(__file__).parent
READY = "runstead is ready on "


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--spy", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.tasks, arguments.concurrency, arguments.spy)
    print(f"{result.rate:.0f} tasks/s: {arguments.tasks} tasks, {arguments.concurrency} at a time")
    print(f"CPU per task: worker {result.worker_ms:.2f} ms, server {result.server_ms:.2f} ms")


class Result(NamedTuple):
    """Tasks per second, and the CPU time of one task."""

    rate: float
    worker_ms: float
    server_ms: float


def cpu_s(process: "subprocess.Popen[Any]") -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(tasks: int, concurrency: int, spy: Path | None = None, database: str | None = None) -> Result:
    """Measure from the first run's start to the last run's end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(database or f"sqlite:///{folder}/bench.db") as (server, url, key),
        Client(url, key, project="default") as client,
    ):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.runs.create("task:noop"), range(tasks)))
        before = cpu_s(server)
        with working(url, key, concurrency) as worker:
            sampling = None
            if spy is not None:
                py_spy = Path(sys.executable).with_name("py-spy")
                record = [py_spy, "record", "-f", "raw", "-o", str(spy), "-p", str(worker.pid), "-r", "200"]
                sampling = subprocess.Popen(record)
            while client.runs.list(status=["pending", "running"], limit=1).data:
                time.sleep(0.2)
            worker_s, server_s = cpu_s(worker), cpu_s(server) - before
        if sampling is not None:
            sampling.wait()
        runs = list(client.runs.iter(limit=100))
        assert len(runs) == tasks
        assert {run.status for run in runs} == {"completed"}, "a task did not complete"
        began = min(run.started_at for run in runs if run.started_at)
        ended = max(run.completed_at for run in runs if run.completed_at)
        rate = tasks / (ended - began).total_seconds()
        return Result(rate, worker_s / tasks * 1000, server_s / tasks * 1000)


@contextmanager
def serving(database: str) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """Start a server. Yield its process, its URL and a key."""
    key = f"vf_bench_{secrets.token_hex(32)}"
    command = [sys.executable, "-P", "-m", "runstead.cli", "serve", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--database", database],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RUNSTEAD_BOOTSTRAP_KEY": key},
    )
    try:
        assert server.stdout is not None
        url = next(line for line in server.stdout if line.startswith(READY)).removeprefix(READY).strip()
        yield server, url, key
    finally:
        server.terminate()
        server.wait()


@contextmanager
def working(url: str, key: str, concurrency: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a worker process."""
    command = [sys.executable, "-P", "-m", "runstead.cli", "worker", "noop:app", "--url", url]
    worker = subprocess.Popen(
        [*command, "--concurrency", str(concurrency)],
        cwd=HERE,
        env={**os.environ, "RUNSTEAD_KEY": key},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
