"""Prefect: a flow run in its own server on SQLite, one task with a persisted result that has the ten events."""

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from common import EVENTS, arguments, free_port, measure, report, until_open

options = arguments()
port = free_port()
os.environ |= {
    "PREFECT_HOME": str(Path(options.directory) / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


async def main() -> None:
    prefect = Path(sys.executable).parent / "prefect"
    server = subprocess.Popen(
        [prefect, "server", "start", "--port", str(port), "--no-ui"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await until_open(port, 90)
        from prefect import flow, task  # noqa: PLC0415 - it reads its settings at import

        @task(persist_result=True)
        async def events() -> list[dict[str, object]]:
            return EVENTS

        @flow(log_prints=False)
        async def work() -> int:
            return len(await events())

        async def lifecycle() -> None:
            assert await work() == 10

        rate = await measure(lifecycle, options.concurrency, options.seconds)
    finally:
        server.terminate()
        server.wait()
    report(version("prefect"), rate)


asyncio.run(main())
