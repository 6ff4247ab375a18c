"""Absurd: a task is spawned, a worker of this process claims it, one step whose result has the ten events, its end."""

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from absurd_sdk import AsyncAbsurd, AsyncTaskContext
from common import EVENTS, arguments, measure, report
from psycopg import AsyncConnection

options = arguments()
done: dict[int, asyncio.Future[None]] = {}
running: list[asyncio.Future[None]] = []


async def main() -> None:
    absurdctl = Path(sys.executable).parent / "absurdctl"
    for command in (["init"], ["create-queue", "bench"]):
        environment = os.environ | {"ABSURD_DATABASE_URL": options.postgres}
        subprocess.run([absurdctl, *command], env=environment, check=True, stdout=subprocess.DEVNULL)

    async def connected() -> AsyncAbsurd:
        session = await AsyncConnection.connect(options.postgres, autocommit=True)
        return AsyncAbsurd(session, queue_name="bench")

    # A session executes one statement at a time, so there is one for each caller, and one for each of 4 workers.
    workers = [await connected() for _ in range(4)]
    for each in workers:

        @each.register_task("work")
        async def work(params: dict[str, int], ctx: AsyncTaskContext) -> int:
            async def events() -> list[dict[str, object]]:
                return EVENTS

            found = await ctx.step("events", events)
            asyncio.get_running_loop().call_soon(done[params["number"]].set_result, None)
            return len(found)

    for each in workers:
        claims = -(-options.concurrency // len(workers))
        running.append(asyncio.ensure_future(each.start_worker(concurrency=claims, poll_interval=0.02)))
    idle = [await connected() for _ in range(options.concurrency)]
    numbers = iter(range(10_000_000))

    async def lifecycle() -> None:
        number, client = next(numbers), idle.pop()
        ended = done[number] = asyncio.get_running_loop().create_future()
        await client.spawn("work", {"number": number}, queue="bench")
        idle.append(client)
        await ended
        del done[number]

    rate = await measure(lifecycle, options.concurrency, options.seconds)
    report(version("absurd-sdk"), rate)


asyncio.run(main())
