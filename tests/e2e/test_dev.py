"""`runstead dev` as a process."""

import os
import signal
import socket
from pathlib import Path

import pytest

from runstead.sdk import Client
from tests.support.until import until

from .program import JOBS, Program, children, lives

BLOCKS = """

@app.task("block")
async def block(ctx) -> None:
    while True:
        pass
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def dev(folder):
    """dev() starts `runstead dev jobs:app`, and returns when its worker serves."""
    made = []

    def start(*options):
        program = Program(folder, "dev", "jobs:app", "--port", "0", *options)
        made.append(program)
        program.wait_for_line("serves task:count")
        return program

    yield start
    for program in made:
        program.kill()


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def connection(program):
    words = program.wait_for_line("export RUNSTEAD_URL=").replace("=", " ").split()
    return words[2], words[4]


def test_dev_serves_and_restarts_its_worker_and_ctrl_c_ends_both(dev, folder):
    program = dev()
    url, key = connection(program)
    with Client(url, key, project="default") as client:
        run = client.runs.create("task:version").run
        until(lambda: client.runs.get(run.run_id).output == "one", "the first version's answer")
        (folder / "jobs.py").write_text(JOBS.replace('"one"', '"two"'))
        until(lambda: sum("serves task:count" in line for line in program.lines) == 2, "a new worker")
        run = client.runs.create("task:version").run
        until(lambda: client.runs.get(run.run_id).output == "two", "the second version's answer")
        long = client.runs.create("task:slow", config={"seconds": 600}).run
        until(lambda: client.runs.get(long.run_id).status == "running", "the run's start")
    below = children(program.process.pid)
    assert len(below) == 2
    program.signal(signal.SIGINT)
    program.wait_for_line("Stopping")
    program.signal(signal.SIGINT)
    assert program.ended() == 0
    assert not any(map(lives, below))
    assert (folder / ".runstead" / "key").stat().st_mode & 0o077 == 0

    again = dev()  # the same key, and the released run continues at once
    url, same = connection(again)
    assert same == key
    with Client(url, key, project="default") as client:
        until(lambda: client.runs.get(long.run_id).attempt == 2, "the next attempt")


def test_a_killed_dev_leaves_no_process(dev):
    program = dev()
    below = children(program.process.pid)
    assert len(below) == 2
    program.process.kill()
    until(lambda: not any(map(lives, below)), "the end of the server and the worker")


def test_a_port_in_use_ends_dev_with_a_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = Program(folder, "dev", "jobs:app", "--port", str(taken.getsockname()[1]))
        assert program.ended() == 1
        program.wait_for_line("cannot listen on 127.0.0.1 port")
        program.wait_for_line("the server ended with exit code 1: see its output above")


def test_dev_restarts_a_worker_that_was_killed_or_that_cannot_end(dev, folder):
    """A handler that blocks the event loop keeps its worker from ending."""
    (folder / "jobs.py").write_text(JOBS + BLOCKS)
    program = dev("--grace-seconds", "0")
    url, key = connection(program)
    [worker] = [pid for pid in children(program.process.pid) if "worker" in command_line(pid)]
    os.kill(worker, signal.SIGKILL)
    program.wait_for_line("the worker was killed by SIGKILL; restarting")
    until(lambda: sum("serves task:count" in line for line in program.lines) == 2, "a new worker")
    with Client(url, key, project="default") as client:
        run = client.runs.create("task:block").run
        until(lambda: client.runs.get(run.run_id).status == "running", "the run's start")
    program.signal(signal.SIGINT)
    program.wait_for_line("the worker did not end within 6 s and is killed")
    assert program.ended() == 0
