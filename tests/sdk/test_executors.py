"""Handlers on real clusters of this machine. Their steps, waits and outcomes stay with the worker."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runstead.sdk import Context
from runstead.sdk.durable.suspension import Parked
from runstead.sdk.executors import executor_from
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.isolation.loading import load
from tests.support.until import eventually

APP = Path(__file__).parent / "isolated_app.py"
app = load(f"{APP}:app")


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.fixture
def on(handler_server):
    """A run on an executor."""

    def make(executor, name, **config):
        log = handler_server(app, name, **config)

        async def run_handler():
            app._executor = executor
            try:
                result = await app(log.run, Context(log.context))
                await log.context.flush()
                return result
            finally:
                app._executor = None

        log.run_handler = run_handler
        return log

    return make


@pytest.mark.parametrize("kind", ["dask", "ray"])
async def test_a_cluster_runs_what_a_worker_has_claimed(kind, on, tmp_path):
    """One test for each cluster, because its start takes seconds."""
    if importlib.util.find_spec({"dask": "distributed", "ray": "ray"}[kind]) is None:
        pytest.skip(f"the extra runstead[{kind}] is not installed")
    executor = executor_from(f"{kind}://local?workers=1")
    try:
        await _its_steps_are_kept_and_it_waits_without_a_process(executor, on, tmp_path / "steps")
        await _its_crash_is_reported(executor, on, tmp_path / "crash")
        await _it_is_ended_by_a_cancel(executor, on, tmp_path / "cancel")
        await _a_run_that_waits_for_a_cluster_worker_can_be_cancelled(executor, on, tmp_path / "queued")
        await _a_lost_machine_fails_the_try(executor, on, tmp_path / "lost")
    finally:
        await executor.close()


async def _its_steps_are_kept_and_it_waits_without_a_process(executor, on, folder):
    folder.mkdir()
    log = on(executor, "steps", folder=str(folder))
    with pytest.raises(Parked):
        await log.run_handler()
    resumed = {"tool_call_id": log.waits["tool_call_id"], "type": "timer"}
    log.add_event({"type": "CUSTOM", "name": "run.resumed", "value": resumed})
    log.attempt()
    done = await log.run_handler()
    assert [(folder / name).read_text() for name in ("first", "left", "right")] == ["x", "x", "x"]
    assert done["pid"] not in {os.getpid(), *done["steps"]}
    assert log.context.exit_code == 0


async def _its_crash_is_reported(executor, on, folder):
    folder.mkdir()
    log = on(executor, "crash", folder=str(folder))
    with pytest.raises(ProcessFailed) as failed:
        await log.run_handler()
    assert (failed.value.code, failed.value.detail["signal"]) == ("CRASHED", "SIGSEGV")
    assert (folder / "tries").read_text() == "xx"


async def _it_is_ended_by_a_cancel(executor, on, folder):
    folder.mkdir()
    working = asyncio.ensure_future(on(executor, "stubborn", folder=str(folder)).run_handler())
    await eventually((folder / "pids").exists)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    child, grandchild = json.loads((folder / "pids").read_text())
    await eventually(lambda: gone(child) and gone(grandchild))


async def _a_run_that_waits_for_a_cluster_worker_can_be_cancelled(executor, on, folder):
    folder.mkdir()
    first = asyncio.ensure_future(on(executor, "awaits", folder=str(folder)).run_handler())
    await eventually((folder / "pids").exists)
    second = asyncio.ensure_future(on(executor, "quits", how="declared").run_handler())
    await asyncio.sleep(0.2)
    assert not second.done()
    for one in (second, first):
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
    assert (folder / "cleaned").exists()


async def _a_lost_machine_fails_the_try(executor, on, folder):
    folder.mkdir()
    working = asyncio.ensure_future(on(executor, "cleans", folder=str(folder)).run_handler())
    await eventually((folder / "pids").exists)
    (child,) = json.loads((folder / "pids").read_text())
    os.kill(parent_of(child), signal.SIGKILL)
    with pytest.raises(ProcessFailed) as failed:
        await working
    assert failed.value.code == "EXECUTOR_LOST"
    await eventually(lambda: gone(child))


WORKER = """
import asyncio, sys
from runstead.sdk.executors import remote
remote.serve_run("127.0.0.1", int(sys.argv[1]), sys.argv[2])
"""


class Machine:
    """A fake cluster that starts processes on this machine."""

    def __init__(self, twice=False):
        self.processes, self.twice = [], twice

    async def submit(self, _host, port, token):
        for _ in range(1 + self.twice):
            process = subprocess.Popen([sys.executable, "-P", "-c", WORKER, str(port), token])  # noqa: ASYNC220
            self.processes.append(process)
        return self

    async def wait(self):
        await asyncio.to_thread(self.processes[0].wait)

    async def cancel(self):
        for process in self.processes:
            process.kill()

    def route(self):
        return ""

    async def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
async def callback():
    from runstead.sdk.executors.callback import Callback

    made = []

    def make(machine):
        made.append(Callback(machine))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_a_task_that_the_cluster_runs_twice_is_refused_once(on, callback, tmp_path):
    machine = Machine(twice=True)
    assert await on(callback(machine), "leaves", folder=str(tmp_path)).run_handler() == "done"
    assert sorted(process.wait(10) != 0 for process in machine.processes) == [False, True]


async def test_a_connection_without_the_token_is_closed(on, callback, tmp_path):
    executor = callback(Machine())
    working = asyncio.ensure_future(on(executor, "awaits", folder=str(tmp_path)).run_handler())
    await eventually((tmp_path / "pids").exists)
    reader, writer = await asyncio.open_connection("127.0.0.1", executor._port)
    writer.write(b"C" + b"x" * 43)
    assert await reader.read() == b""
    writer.close()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_missing_cluster_fails_the_try(on, callback):
    class Away(Machine):
        async def submit(self, *_):
            raise TimeoutError("no scheduler")

    with pytest.raises(ProcessFailed, match="TimeoutError: no scheduler"):
        await on(callback(Away()), "slow").run_handler()


async def test_a_cluster_that_refuses_fails_the_try(on, callback):
    class Full(Machine):
        async def wait(self):
            raise OSError("no place left")

        async def submit(self, *_):
            return self

    with pytest.raises(ProcessFailed, match="no place left") as failed:
        await on(callback(Full()), "leaves", folder="/").run_handler()
    assert failed.value.code == "EXECUTOR_LOST"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("slurm://x", "begins with ray:// or dask://"),
        ("dask://host", "like dask://scheduler:8786"),
        ("ray://head:1/x", "has no path"),
        ("ray://local?gpus=1", "known are"),
        ("dask://local?callback=here", "callback is like"),
    ],
)
def test_an_invalid_address_is_refused(url, sentence):
    if url.startswith("dask") and importlib.util.find_spec("distributed") is None:
        pytest.skip("the extra runstead[dask] is not installed")
    if url.startswith("ray://local") and importlib.util.find_spec("ray") is None:
        pytest.skip("the extra runstead[ray] is not installed")
    with pytest.raises(ValueError, match=sentence):
        executor_from(url)
