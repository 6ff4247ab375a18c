"""Measures the latency from an append to the followers, and the cost of a follower for the server.

    python bench/followers.py                                  # 200 followers of one run
    python bench/followers.py --followers 1000 --runs 1000     # 1,000 followers, each of another run

Starts a server on a new SQLite file, and the followers in another process, over raw sockets. Then appends one event at a
time, `--rate` per second, to each run in turn. An event contains the time at which its append was sent. Each follower
takes the time at which it arrived. Both are CLOCK_MONOTONIC of one machine. `--spy FILE` records the server with py-spy.
"""

import argparse
import asyncio
import json
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import ask, find_project_id
from worker import cpu_s, serving

_SENT: Final = re.compile(rb'"sent":(\d+)}')


class _Run(msgspec.Struct):
    run_id: str


class _Created(msgspec.Struct):
    run: _Run


class Follower(asyncio.Protocol):
    """One stream. It records when each event was sent, and its latency, in ns."""

    def __init__(self, request: bytes, delays: list[tuple[int, int]], opened: asyncio.Semaphore) -> None:
        self._request, self._delays, self._opened = request, delays, opened
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if b": stream of run events" in data:
            self._opened.release()
        text = self._rest + data
        end = 0
        for match in _SENT.finditer(text):
            self._delays.append((int(match[1]), now - int(match[1])))
            end = match.end()
        self._rest = text[end:][-64:]  # an event may arrive in two parts


async def follow() -> None:
    """Run in the followers' process: open the streams that stdin lists, and print the latencies at the end."""
    host, port, key, *run_ids = sys.stdin.readline().split()
    delays: list[tuple[int, int]] = []
    opened = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    for run_id in run_ids:
        head = f"GET /runs/{run_id}/stream HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\n\r\n".encode()
        await loop.create_connection(lambda head=head: Follower(head, delays, opened), host, int(port))
        await opened.acquire()
    ready = time.monotonic_ns()
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    print(json.dumps([delay for sent, delay in delays if sent > ready]), flush=True)


def start_followers() -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--follower-process"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_spy(file: str, pid: int) -> "subprocess.Popen[bytes]":
    record = ["py-spy", "record", "-f", "raw", "-r", "500", "-o", file, "-p", str(pid)]
    return subprocess.Popen(record)


def rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


async def measure(arguments: argparse.Namespace, server: "subprocess.Popen[str]", url: str, key: str) -> None:
    target = Target.from_url(url)
    headers, connection = target.headers(key), Connection(target)
    project_id = await find_project_id(connection, "default", headers)
    run = {
        "kind": "task",
        "request": {"target": "task:bench"},
        "owner": {"kind": "project", "id": project_id},
    }

    async def append(run_id: str) -> None:
        body = b'{"events":[{"type":"BENCH","text":"%b","sent":%d}]}' % (b"x" * 150, time.monotonic_ns())
        status, content = await connection.request("POST", f"/runs/{run_id}/events", body, headers)
        assert status == 200, content

    run_ids = [
        (await ask(connection, "POST", "/runs", run, headers, status=202, answer=_Created)).run.run_id
        for _ in range(arguments.runs + 1)
    ]
    for run_id in run_ids + [run_ids.pop()] * 300:
        # Warm up, so that the server's own memory, such as database pages, is not counted for the followers.
        await append(run_id)
        await connection.request("GET", f"/runs/{run_id}/events?limit=1", b"", headers)
    before = rss_kib(server.pid)
    process = start_followers()
    assert process.stdin is not None
    assert process.stdout is not None
    followed = [run_ids[number % arguments.runs] for number in range(arguments.followers)]
    print(target.host, target.port, key, *followed, file=process.stdin, flush=True)
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, process.stdout.readline) == "open\n"
    await asyncio.sleep(1)
    grown = rss_kib(server.pid) - before
    spy = start_spy(arguments.spy, server.pid) if arguments.spy else None
    used, began = cpu_s(server), time.monotonic()
    count = int(arguments.seconds * arguments.rate)
    for number in range(count):
        await asyncio.sleep(began + number / arguments.rate - time.monotonic())
        await append(run_ids[number % arguments.runs])
    used, took = cpu_s(server) - used, time.monotonic() - began
    await asyncio.sleep(0.5)
    print(file=process.stdin, flush=True)
    delays = json.loads(await loop.run_in_executor(None, process.stdout.readline))
    process.wait()
    if spy is not None:
        spy.send_signal(signal.SIGINT)  # py-spy writes its file at SIGINT
        spy.wait()
    expected = count * arguments.followers // arguments.runs
    assert len(delays) == expected, f"{len(delays)} of {expected} events arrived"
    cuts = statistics.quantiles(delays, n=1_000)
    print(
        f"{arguments.followers} followers of {arguments.runs} runs, {count / took:.0f} appends/s:"
        f" append sent to event arrived p50 {cuts[499] / 1e6:.2f} ms, p99 {cuts[989] / 1e6:.2f} ms;"
        f" {grown / arguments.followers:.1f} KiB an open follower; server {100 * used / took:.0f} % of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--followers", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--spy")
    parser.add_argument("--follower-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.follower_process:
        uvloop.run(follow())
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(f"sqlite:///{folder}/bench.db") as (server, url, key),
    ):
        uvloop.run(measure(arguments, server, url, key))


if __name__ == "__main__":
    main()
