"""What the adapters share: the callers, and the line that reports the result. It needs the standard library alone.

An adapter is a program that starts with its peer's packages. It gets `--concurrency`, `--seconds`, `--directory` (empty,
for its files) and `--postgres` (the URL of an empty database), and prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

#: Ten events of 200 bytes: what a lifecycle stores between its claim and its completion.
EVENTS = [
    {"type": "CUSTOM", "name": "progress", "value": {"step": step, "note": "." * 136}} for step in range(10)
]

WARM_UP_S = 1.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--postgres")
    return parser.parse_args()


async def measure(lifecycle: Callable[[], Awaitable[Any]], concurrency: int, seconds: float) -> float:
    """Return how many lifecycles end per second, with callers that each wait for the last one."""
    await asyncio.wait_for(lifecycle(), 60)  # the first one may have to wait until the peer is ready
    start = time.perf_counter() + WARM_UP_S
    end = start + seconds
    ended = 0

    async def caller() -> None:
        nonlocal ended
        while time.perf_counter() < end:
            await lifecycle()
            ended += start <= time.perf_counter() < end

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return ended / seconds


async def until_open(port: int, seconds: float = 60) -> None:
    """Wait until a server accepts connections on the port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(version: str, rate: float) -> None:
    """Print the result, and end at once: some peers have threads that do not."""
    print(json.dumps({"version": version, "lifecycles_per_s": round(rate, 1)}), flush=True)
    sys.stderr.flush()
    os._exit(0)
