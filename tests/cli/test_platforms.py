"""What a platform lacks: the SDK, the testbed and the command line are imported and work without it."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from runstead.cli.shared import event_loop
from runstead.sdk import WorkerGroup
from runstead.sdk.isolation.group import Group

# What Windows does not have. asyncio and subprocess are those of this platform, so they are imported before.
WITHOUT = """
import asyncio, importlib, os, pkgutil, signal, subprocess, sys
for module in ("fcntl", "termios", "resource", "pwd", "grp", "tty", "pty", "uvloop"):
    sys.modules[module] = None
for owner, names in (
    (signal, ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "pthread_sigmask")),
    (os, ("killpg", "fork", "getuid", "geteuid", "getpgid", "setsid", "setpgid")),
):
    for name in names:
        delattr(owner, name)
import runstead.bench, runstead.cli, runstead.sdk, runstead.testing
OPTIONAL = {"runstead.sdk.executors.dask", "runstead.sdk.executors.ray"}
PROGRAMS = {"runstead.cli.__main__", "runstead.sdk.isolation.child", "runstead.sdk.isolation.guard"}
for package in (runstead.bench, runstead.cli, runstead.sdk, runstead.testing):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name not in OPTIONAL | PROGRAMS and ".new_project" not in found.name:
            importlib.import_module(found.name)

app = runstead.App()
@app.task("greet")
async def greet(ctx, name):
    return f"Hello, {name}"
with runstead.testing.BlockingTestbed(app) as bed:
    print(bed.result(bed.run("task:greet", config={"name": "Ada"})).output)
sys.argv = ["runstead", "doctor", "--help"]
runstead.cli.main()
"""


def test_sdk_testbed_and_command_line_work_without_the_modules_of_posix():
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT], capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Hello, Ada\n")
    assert "Usage: runstead doctor" in done.stdout


def test_the_loop_is_uvloops_or_asyncios(monkeypatch):
    assert event_loop.loop_factory() is not None
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.loop_factory() is None


def test_a_server_says_what_windows_lacks(monkeypatch):
    assert event_loop.missing_here() is None
    monkeypatch.setattr(sys, "platform", "win32")
    assert "run it in WSL or a container" in event_loop.missing_here()


def test_a_process_group_is_refused_with_a_sentence_where_there_is_none(monkeypatch):
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(OSError, match="need process groups, which Windows does not have"):
        Group([sys.executable, "-c", ""])


def test_workers_stop_at_a_signal_also_where_the_loop_takes_none(monkeypatch):
    class Serving:
        def __init__(self):
            self.stopping = asyncio.Event()

        async def serve(self):
            os.kill(os.getpid(), signal.SIGTERM)
            await self.stopping.wait()

        def stop(self):
            self.stopping.set()

        async def aclose(self):
            pass

    class Loop(asyncio.SelectorEventLoop):
        def add_signal_handler(self, *_):
            raise NotImplementedError

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker = Serving()
        WorkerGroup([worker]).run(Loop)
        assert worker.stopping.is_set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
