"""Procrastinate: a deferred job, a worker that takes it, ten rows of a table of ours in one transaction, its end."""

import asyncio
from importlib.metadata import version

import procrastinate
from common import EVENTS, arguments, measure, report
from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool

options = arguments()
jobs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=options.postgres, max_size=20))
waiting: dict[int, asyncio.Future[None]] = {}


async def main() -> None:
    pool = AsyncConnectionPool(options.postgres, min_size=4, max_size=20, open=False)
    await pool.open()
    async with pool.connection() as connection:
        await connection.execute("CREATE TABLE events (job bigint, number int, payload jsonb)")

    @jobs.task(name="work")
    async def work(number: int) -> None:
        rows = [(number, index, Json(event)) for index, event in enumerate(EVENTS)]
        async with pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO events VALUES (%s, %s, %s)", rows)
        waiting[number].set_result(None)

    numbers = iter(range(10_000_000))

    async def lifecycle() -> None:
        number = next(numbers)
        ended = waiting[number] = asyncio.get_running_loop().create_future()
        await work.defer_async(number=number)
        await ended
        del waiting[number]

    async with jobs.open_async():
        await jobs.schema_manager.apply_schema_async()
        worker = asyncio.ensure_future(
            jobs.run_worker_async(
                concurrency=options.concurrency,
                install_signal_handlers=False,
                fetch_job_polling_interval=0.02,
            )
        )
        rate = await measure(lifecycle, options.concurrency, options.seconds)
        worker.cancel()
        report(version("procrastinate"), rate)


asyncio.run(main())
