"""The quick start as a reader follows it: its app, its commands, and its killed worker."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from runstead import Client
from tests.docs.pages import files, text
from tests.support.server import PROGRAM, environment
from tests.support.until import until

from .program import Program, children

PAGE = "docs/quick-start.md"
#: A station that is slow until the test has killed the worker.
SLOW = """while day > 2 and not __import__("pathlib").Path("go").exists():
        await asyncio.sleep(0.02)"""


@pytest.fixture
def dev(tmp_path):
    for file, source in files(PAGE).items():
        (tmp_path / file).write_text(source.replace("await asyncio.sleep(1)", SLOW))
    (start,) = re.findall(r"^\$ runstead (dev .*)$", text(PAGE), re.MULTILINE)
    program = Program(tmp_path, *start.split(), "--port", "0")
    yield program
    program.kill()


def test_a_killed_worker_is_replaced_and_the_run_goes_on_after_its_last_step(dev, tmp_path):
    words = dev.wait_for_line("export RUNSTEAD_URL=").split()
    settings = dict(word.split("=") for word in words[1:])
    dev.wait_for_line("serves task:rain-report")

    def runstead(*command):
        return subprocess.run(
            [*PROGRAM, *command],
            env=environment(**settings),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    (create,) = re.findall(r"^\$ runstead (runs create .*) --wait$", text(PAGE), re.MULTILINE)
    assert runstead(*shlex.split(create), "--config", "days=6") == "oslo\n"
    with Client(settings["RUNSTEAD_URL"], settings["RUNSTEAD_KEY"], project="default") as client:
        run = client.run("oslo")
        until(lambda: len(list(client.events.iter("oslo", event_types=["STEP_FINISHED"]))) >= 2, "two steps")
        (pattern,) = re.findall(r'pkill -9 -f "(.*)"', text(PAGE))
        (worker,) = [p for p in children(dev.process.pid) if pattern in _command_line(p)]
        os.kill(worker, signal.SIGKILL)
        dev.wait_for_line("the worker was killed by SIGKILL; restarting")
        (lost,) = [one for one in client.workers.iter() if one.worker_key.endswith(f"-{worker}")]
        (tmp_path / "go").touch()
        client.workers.remove(lost.id)  # else its lease ends, in 30 seconds
        until(lambda: run.status() == "waiting", "the question")
        runstead("runs", "approve", "oslo")
        assert run.result(timeout=60) == "Oslo: 21 mm in 6 days"
        steps = [event.payload["stepName"] for event in run.events() if event.event_type == "STEP_FINISHED"]
        assert steps == [f"day {day}" for day in range(1, 7)] + ["approval"]
        assert [attempt.outcome for attempt in client.runs.attempts("oslo").data] == [
            "released",
            "parked",
            "completed",
        ]


def _command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
