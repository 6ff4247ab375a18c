"""Compares two versions in alternating turns, so that other load of the machine affects both.

    python bench/turns.py before=../main/.venv/bin/runstead after=.venv/bin/runstead --engine sqlite postgres

Each `name=command` is the `runstead` of a virtual environment with another commit or another Python. A turn starts that
server on a new SQLite file or PostgreSQL database, and runs the load of `runstead bench` at each concurrency, without
its baselines. The load generator is always this script's. A round is one turn of each version; every second round is in
reverse order. Prints the medians of all rounds, and the ratio of the last version to the first. Linux only.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
from postgres import DEFAULTS, PostgresServer

from runstead.bench import BenchOptions, run_bench
from runstead.core.identity.project import new_key

READY = "runstead is ready on "


class Turn(NamedTuple):
    """The result of a turn. `start_s` is the time until the server is ready, `peak_mb` its peak memory."""

    start_s: float
    peak_mb: float
    reports: dict[int, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="name=command")
    parser.add_argument("--engine", nargs="+", choices=["sqlite", "postgres"], default=["sqlite", "postgres"])
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="every turn's figures too")
    options = parser.parse_args()
    versions: dict[str, str] = dict(version.split("=", 1) for version in options.versions)
    for engine in options.engine:
        turns: dict[str, list[Turn]] = defaultdict(list)
        with databases(engine) as fresh:
            for number in range(options.rounds):
                for name in list(versions)[:: -1 if number % 2 else 1]:
                    turns[name].append(turn(versions[name], fresh(), options.concurrency, options.seconds))
        report(engine, turns, options.concurrency)
        if options.json:
            print(json.dumps({name: [one._asdict() for one in made] for name, made in turns.items()}))


@contextmanager
def databases(engine: str) -> Iterator[Any]:
    """Yield a function that returns the URL of a new database."""
    with tempfile.TemporaryDirectory(prefix="runstead-turns-") as folder:
        numbers = iter(range(1_000_000))
        if engine == "sqlite":
            yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"
            return
        server = PostgresServer(**DEFAULTS)

        async def make(name: str) -> None:
            session = await asyncpg.connect(server.url())
            await session.execute(f"CREATE DATABASE {name}")
            await session.execute("CHECKPOINT")  # so that this turn does not write the last turn's pages
            await session.close()

        def fresh() -> str:
            asyncio.run(make(name := f"turn_{next(numbers)}"))
            return server.url(name)

        try:
            yield fresh
        finally:
            server.remove()


def turn(command: str, database: str, concurrencies: list[int], seconds: float) -> Turn:
    key = new_key()
    settings = {"RUNSTEAD_DATABASE_URL": database, "RUNSTEAD_BOOTSTRAP_KEY": key, "RUNSTEAD_PORT": "0"}
    settings["PYTHONDONTWRITEBYTECODE"] = ""  # without cached bytecode a version would start slowly
    began = time.monotonic()
    process = subprocess.Popen(
        [command, "serve"], env=os.environ | settings, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith(READY)), None)
        if line is None:
            raise SystemExit(f"{command} did not start")
        start_s = time.monotonic() - began
        url = line.removeprefix(READY).strip()
        reports = {number: bench(url, key, number, seconds) for number in concurrencies}
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return Turn(start_s, int(peak) / 1024, reports)
    finally:
        process.terminate()
        process.wait()


def bench(url: str, key: str, concurrency: int, seconds: float) -> dict[str, Any]:
    options = BenchOptions(
        urls=(url,), key=key, project="default", concurrency=concurrency, seconds=seconds, floor_seconds=0.1
    )
    return msgspec.to_builtins(run_bench(options))


def report(engine: str, turns: dict[str, list[Turn]], concurrencies: list[int]) -> None:
    names = list(turns)
    ratio = f"{names[-1]} / {names[0]}"
    print(f"\n| {engine} | {' | '.join(names)} | {ratio} |\n|{'---|' * (len(names) + 2)}")

    def row(what: str, figures: dict[str, list[float]], digits: int) -> None:
        medians = [statistics.median(figures[name]) for name in names]
        cells = " | ".join(f"{median:.{digits}f}" for median in medians)
        print(f"| {what} | {cells} | {medians[-1] / medians[0]:.2f} |", flush=True)

    for number in concurrencies:
        reports = {name: [one.reports[number] for one in made] for name, made in turns.items()}
        row(
            f"lifecycles/s at {number}",
            {n: [r["lifecycles_per_s"] for r in rs] for n, rs in reports.items()},
            0,
        )
        for figure in ("p50_ms", "p99_ms"):
            completes = {n: [r["requests"]["complete"][figure] for r in rs] for n, rs in reports.items()}
            row(f"{figure} of complete at {number}", completes, 1)
        for name, measured in reports.items():
            if errors := [kind for one in measured for kind in one["errors"]["kinds"]]:
                print(f"errors of {name} at {number}: {errors}", file=sys.stderr)
    row("start to ready, s", {name: [one.start_s for one in made] for name, made in turns.items()}, 2)
    row("peak memory, MB", {name: [one.peak_mb for one in made] for name, made in turns.items()}, 0)


if __name__ == "__main__":
    main()
