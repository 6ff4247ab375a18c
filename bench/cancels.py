"""Measures the time from a cancel until the handler is cancelled, which sends nothing and would learn of it by its lease.

    python bench/cancels.py --key $KEY [--url URL] [--other-url URL] [--cancels 200] [--busy 20]

The worker is at `--url`, the cancels are sent to `--other-url`, for example another replica. Meanwhile `--busy` clients
create and complete runs. Prints the median and the 99th percentile in ms.
"""

import argparse
import asyncio
import statistics
import time

from runstead.sdk import AsyncClient, Context, Worker
from runstead.sdk.models.lease import ClaimedRun

HELD = 20


async def measure(options: argparse.Namespace) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    ended: dict[str, float] = {}
    stopped = asyncio.Event()

    async def silent(run: ClaimedRun, _ctx: Context) -> None:
        begun.put_nowait(run.run_id)
        try:
            await asyncio.Event().wait()
        finally:
            ended[run.run_id] = time.perf_counter()
            stopped.set()

    async def busy(client: AsyncClient) -> None:
        while True:
            run = (await client.runs.create("task:busy")).run
            await client.runs.complete(run.run_id)

    async with (
        AsyncClient(options.url, options.key, project=options.project) as here,
        AsyncClient(options.other_url or options.url, options.key, project=options.project) as there,
    ):
        worker = Worker(
            here, silent, targets=["task:silent"], lease_seconds=300, concurrency=HELD, grace_seconds=0
        )
        serving = asyncio.create_task(worker.serve())
        others = [asyncio.create_task(busy(there)) for _ in range(options.busy)]
        for _ in range(HELD):
            await there.runs.create("task:silent")
        taken = []
        for _ in range(options.cancels):
            run_id = await begun.get()
            sent = time.perf_counter()
            await there.runs.cancel(run_id)
            while run_id not in ended:
                stopped.clear()
                await stopped.wait()
            taken.append((ended[run_id] - sent) * 1000)
            await there.runs.create("task:silent")
        for task in others:
            task.cancel()
        worker.stop()
        await serving
    percentile = statistics.quantiles(taken, n=100)[98]
    print(
        f"{len(taken)} cancels: p50 {statistics.median(taken):.1f} ms, p99 {percentile:.1f} ms, max {max(taken):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8720")
    parser.add_argument("--other-url")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", default="default")
    parser.add_argument("--cancels", type=int, default=200)
    parser.add_argument("--busy", type=int, default=0)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
