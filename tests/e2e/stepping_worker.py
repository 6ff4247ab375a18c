"""Forks a worker for each line of its input, and prints the worker's process id.

Each worker serves `task:twenty`: twenty steps that each write a row to another database. Everything is imported before
the first fork, so that a worker starts fast. Arguments: the server's URL, the key, the project, the database for the
rows, the concurrency, the lease in seconds.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
import uuid
from pathlib import Path

from runstead.sdk import App, AsyncClient, Context

url, key, project, rows, concurrency, lease_s = sys.argv[1:]
app = App()


def note(run_id: str, step: int, attempt: int) -> str:
    """Write the row of a step, which only a later call of the same step replaces, and return its token."""
    token = str(uuid.uuid4())
    with sqlite3.connect(rows, timeout=60) as database:
        database.execute("INSERT INTO tries VALUES (?, ?, ?, ?)", (run_id, step, attempt, token))
        database.execute("INSERT OR REPLACE INTO effects VALUES (?, ?, ?)", (run_id, step, token))
    database.close()
    return token


@app.task("twenty")
async def twenty(ctx: Context) -> list[str]:
    Path(f"{rows}.{os.getpid()}").touch()  # noqa: ASYNC240 - reports that the worker is working

    async def step(number: int) -> str:
        async def work() -> str:
            await asyncio.sleep(random.uniform(0, 0.02))
            token = note(ctx.run.run_id, number, ctx.run.attempt)
            await asyncio.sleep(random.uniform(0, 0.02))
            return token

        return await ctx.step(f"step {number}", work)

    async def line(first: int) -> list[str]:
        return [await step(number) for number in range(first, first + 3)]

    tokens = [await step(number) for number in range(7)]
    left, right = await ctx.gather(line(7), line(10))
    return tokens + left + right + [await step(number) for number in range(13, 20)]


async def serve() -> None:
    async with AsyncClient(url, key, project=project) as client:
        await app.worker(
            client,
            worker_key=f"fork-{os.getpid()}",
            concurrency=int(concurrency),
            lease_seconds=int(lease_s),
        ).serve()


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for the workers
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        random.seed()
        asyncio.run(serve())
        os._exit(0)
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
