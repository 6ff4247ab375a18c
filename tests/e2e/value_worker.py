"""A worker that kills itself with SIGKILL after it has stored a large value, and before the log has the step's result.

Arguments: the server's URL, the key, the project, a file to which each call of the step adds a line.
"""

import asyncio
import os
import signal
import sys
import uuid

from runstead.sdk import App, AsyncClient
from runstead.sdk.durable.value_store import ValueStore

url, key, project, calls = sys.argv[1:]
app = App()


@app.task("large")
async def large(ctx):
    def make():
        token = str(uuid.uuid4())
        with open(calls, "a") as file:  # noqa: PTH123
            file.write(f"{token}\n")
        return token * 10_000

    text = await ctx.step("make", make)
    await ctx.sleep(1.1)  # the rest replays the result
    return text[:36]


async def _keep(self, content, keep=ValueStore._keep):
    stored = await keep(self, content)
    if self.run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return stored


ValueStore._keep = _keep


async def serve():
    async with AsyncClient(url, key, project=project) as client:
        await app.worker(client, worker_key=f"worker-{os.getpid()}", lease_seconds=5).serve()


asyncio.run(serve())
