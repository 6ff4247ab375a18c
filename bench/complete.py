"""Profiles one `complete`: how its microseconds are divided among the parts of the server.

    export RUNSTEAD_KEY=$(runstead keys generate)
    RUNSTEAD_BOOTSTRAP_KEY=$RUNSTEAD_KEY runstead serve &
    python bench/complete.py --pid $! --key $RUNSTEAD_KEY

Creates runs, then completes them over 16 connections, while py-spy samples the thread that holds the server's
interpreter, and its stack. The table divides the time by the number of completes.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from runstead.bench.connection import Connection, Target

CONCURRENCY = 16
RATE = 500

# A stack belongs to the part of its innermost frame that contains one of these texts.
PARTS = {
    "_load (": "store: the run is read",
    "rewrite_run (": "store: the run is written",
    "add_events (": "store: its event is written",
    "rollup": "store: its entry for the sums of usage is written",
    "runs/transitions/": "store: transitions.complete decides",
    "Writer.": "store: the rest of the transaction, COMMIT included",
    "RequestResponseCycle.send": "HTTP: the answer is sent",
    "Protocol.write (": "HTTP: the answer is sent",
    "http/run_view.py": "HTTP: the answer is built and encoded",
    "_encode (": "HTTP: the answer is built and encoded",
    "http/auth/authenticator.py": "HTTP: authentication",
    "http/framework/body.py": "HTTP: the body is decoded",
    "http/framework/app.py": "HTTP: routing and counting",
    "http/framework/router.py": "HTTP: routing and counting",
    "ports/metrics.py": "HTTP: routing and counting",
    "starlette/": "HTTP: routing and counting",
    "Protocol.": "HTTP: the request is read",
    "runstead/commands": "the command",
    "engines/sqlite": "the command",
    "runstead/http": "HTTP: endpoint and handler",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8720")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", default="default")
    parser.add_argument("--pid", type=int, required=True, help="the server's process")
    parser.add_argument("--runs", type=int, default=20_000)
    asyncio.run(measure(parser.parse_args()))


async def measure(arguments: argparse.Namespace) -> None:
    target = Target.from_url(arguments.url)
    headers = target.headers(arguments.key)
    connections = [Connection(target) for _ in range(CONCURRENCY)]
    for connection in connections:
        await connection.open()
    status, found = await connections[0].request("GET", f"/projects/{arguments.project}", b"", headers)
    assert status == 200, found
    owner = {"kind": "project", "id": msgspec.json.decode(found)["id"]}
    create = msgspec.json.encode({"kind": "task", "owner": owner, "request": {"target": "task:profile"}})
    runs: list[str] = []
    left = arguments.runs

    async def create_some(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            _, answer = await connection.request("POST", "/runs", create, headers)
            runs.append(msgspec.json.decode(answer)["run"]["run_id"])

    async def complete_some(connection: Connection) -> None:
        body = (
            b'{"status":"completed","metadata":{"provider":"p","model":"m","inputTokens":1,"outputTokens":2}}'
        )
        while runs:
            status, answer = await connection.request("POST", f"/runs/{runs.pop()}/complete", body, headers)
            assert status == 200, answer

    await asyncio.gather(*map(create_some, connections))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        spy = await asyncio.create_subprocess_exec(
            *("py-spy", "record", "--pid", str(arguments.pid), "--gil", "--threads", "--format", "raw"),
            *("--rate", str(RATE), "--output", str(raw)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert spy.stderr is not None
        started = time.perf_counter()
        await asyncio.gather(*map(complete_some, connections))
        seconds = time.perf_counter() - started
        spy.send_signal(2)
        error = (await spy.communicate())[1]
        if not raw.exists():
            sys.exit(error.decode())
        report(raw.read_text(), arguments.runs, seconds)


def report(stacks: str, completes: int, seconds: float) -> None:
    """Print a line for each part: microseconds of interpreter time of one complete, and the share of the total."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        counts[part_of(stack)] += int(samples)
    total = sum(counts.values())
    each = 1e6 * seconds / completes
    sample = 1e6 / RATE / completes
    print(
        f"{completes / seconds:,.0f} completes/s: {each:.0f} µs each; the interpreter is busy for {total * sample:.0f} µs"
    )
    for name, samples in counts.most_common():
        print(f"{samples / total:6.1%} {samples * sample:6.0f} µs  {name}")


def part_of(stack: str) -> str:
    """Return the part of the server to which a sample belongs."""
    for frame in reversed(stack.split(";")):
        for mark, name in PARTS.items():
            if mark in frame:
                return name
    return "asyncio and uvloop"


if __name__ == "__main__":
    main()
