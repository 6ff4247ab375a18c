"""DBOS: a workflow in the queue, one step whose result has the ten events. Workflow, step and result are rows."""

import asyncio
from importlib.metadata import version
from pathlib import Path

from common import EVENTS, arguments, measure, report
from dbos import DBOS

options = arguments()
database = options.postgres or f"sqlite:///{Path(options.directory) / 'dbos.db'}"
DBOS(config={"name": "bench", "system_database_url": database, "log_level": "ERROR"})


@DBOS.step()
def events() -> list[dict[str, object]]:
    return EVENTS


@DBOS.workflow()
def work() -> int:
    return len(events())


async def main() -> None:
    DBOS.launch()
    # By default it polls its queue once a second.
    await DBOS.register_queue_async(
        "bench", worker_concurrency=options.concurrency, polling_interval_sec=0.02
    )

    async def lifecycle() -> None:
        handle = await DBOS.enqueue_workflow_async("bench", work)
        assert await handle.get_result(polling_interval_sec=0.02) == 10

    report(version("dbos"), await measure(lifecycle, options.concurrency, options.seconds))


asyncio.run(main())
