"""`runstead dev`, the real one."""

import signal
import socket

import pytest

from runstead.sdk import Client
from tests.support.until import until

from .program import JOBS, Program, children, lives


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def dev(folder):
    """dev(): `runstead dev jobs:app`, once its worker serves."""
    made = []

    def start():
        program = Program(folder, "dev", "jobs:app", "--port", "0")
        made.append(program)
        program.told("serves task:count")
        return program

    yield start
    for program in made:
        program.kill()


def connection(program):
    words = program.told("export RUNSTEAD_URL=").replace("=", " ").split()
    return words[2], words[4]


def test_dev_serves_and_starts_its_worker_anew_and_ctrl_c_ends_all_of_it(dev, folder):
    program = dev()
    url, key = connection(program)
    with Client(url, key, project="default") as client:
        run = client.create_task_run("task:version").run
        until(lambda: client.get_run(run.run_id).output == "one", "the first version's answer")
        (folder / "jobs.py").write_text(JOBS.replace('"one"', '"two"'))
        until(lambda: sum("serves task:count" in line for line in program.lines) == 2, "a new worker")
        run = client.create_task_run("task:version").run
        until(lambda: client.get_run(run.run_id).output == "two", "the second version's answer")
        long = client.create_task_run("task:slow", config={"seconds": 600}).run
        until(lambda: client.get_run(long.run_id).status == "running", "the run's start")
    below = children(program.process.pid)
    assert len(below) == 2
    program.signal(signal.SIGINT)
    program.told("Stopping")
    program.signal(signal.SIGINT)
    assert program.ended() == 0
    assert not any(map(lives, below))
    assert (folder / ".runstead" / "key").stat().st_mode & 0o077 == 0

    again = dev()  # the same key, and what was given back goes on at once
    url, same = connection(again)
    assert same == key
    with Client(url, key, project="default") as client:
        until(lambda: client.get_run(long.run_id).attempt == 2, "the next attempt")


def test_no_process_is_left_behind_by_a_dev_that_was_killed(dev):
    program = dev()
    below = children(program.process.pid)
    assert len(below) == 2
    program.process.kill()
    until(lambda: not any(map(lives, below)), "the end of the server and the worker")


def test_a_port_that_is_taken_ends_it_with_a_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = Program(folder, "dev", "jobs:app", "--port", str(taken.getsockname()[1]))
        assert program.ended() == 1
        program.told("cannot listen on 127.0.0.1 port")
        program.told("the server ended: see its output above")
