"""Measures the cost of one run on PostgreSQL: CPU time of both servers, WAL, storage, transactions. Linux only.

    python bench/postgres.py &                      # or any other server on this machine
    python bench/cost.py postgresql://… --concurrency 16 --seconds 20

Starts a server on the database, runs `runstead bench`, and reads the counters before and after. Prints JSON;
docs/scale.md and bench/scale.py use these values.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from runstead.core.identity.project import new_key

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RUNSTEAD = str(Path(sys.executable).parent / "runstead")
COUNTERS = """
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal_bytes, pg_database_size(current_database()) AS stored_bytes,
  (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS transactions,
  (SELECT count(*) FROM runs) AS runs, pg_backend_pid() AS pid
"""


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_S


def children(parent: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(status.parent.name)
        except (FileNotFoundError, ProcessLookupError):  # the process has ended
            continue


def database_cpu_s(backend: int) -> float:
    postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    return cpu_s(postmaster) + sum(cpu_s(child) for child in children(postmaster))


@contextmanager
def server(database: str, key: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"RUNSTEAD_BOOTSTRAP_KEY": key, "RUNSTEAD_DATABASE_URL": database, "RUNSTEAD_PORT": str(port)}
    process = subprocess.Popen([RUNSTEAD, "serve"], env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


def bench(port: int, key: str, concurrency: int, seconds: float) -> dict[str, Any]:
    options = ["--url", f"http://127.0.0.1:{port}", "--key", key, "--concurrency", str(concurrency)]
    command = [RUNSTEAD, "bench", *options, "--seconds", str(seconds), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


async def counters(session: asyncpg.Connection) -> dict[str, float]:
    await session.execute("CHECKPOINT")  # so that the database's size on disk is complete
    return dict(await session.fetchrow(COUNTERS))


async def measure(database: str, concurrency: int, seconds: float, port: int) -> dict[str, Any]:
    key = new_key()
    with server(database, key, port) as process:
        # Warm up: the first pages of a table cost more than the later ones.
        await asyncio.to_thread(bench, port, key, concurrency, seconds / 4)
        session = await asyncpg.connect(database)
        before = await counters(session)
        cpu = cpu_s(process.pid), database_cpu_s(before["pid"])
        report = await asyncio.to_thread(bench, port, key, concurrency, seconds)
        cpu = cpu_s(process.pid) - cpu[0], database_cpu_s(before["pid"]) - cpu[1]
        after = await counters(session)
        await session.close()
    runs = after["runs"] - before["runs"]

    def each(name: str) -> float:
        return (after[name] - before[name]) / runs

    return {
        "concurrency": concurrency,
        "lifecycles_per_s": report["lifecycles_per_s"],
        "p99_ms": {name: figures["p99_ms"] for name, figures in report["requests"].items()},
        "healthz_per_s": report["floors"]["healthz_requests_per_s"],
        "runs": int(runs),
        "server_cpu_ms": round(cpu[0] / runs * 1000, 3),
        "database_cpu_ms": round(cpu[1] / runs * 1000, 3),
        "generator_cores": report["generator_cores"],
        "wal_bytes": round(each("wal_bytes")),
        "stored_bytes": round(each("stored_bytes")),
        "transactions": round(each("transactions"), 2),
        "errors": report["errors"]["count"],
        "machine": report["machine"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", help="postgresql://… on this machine")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--port", type=int, default=8790 + secrets.randbelow(100))
    options = parser.parse_args()
    costs = asyncio.run(measure(options.database, options.concurrency, options.seconds, options.port))
    print(json.dumps(costs, indent=2))


if __name__ == "__main__":
    main()
