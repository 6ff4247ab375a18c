"""The demo as a process: its output, its checks, and that it ends all its processes."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Attempt, Cancellation, Owner, Run, RunError

DEMO = Path(__file__).parents[2] / "demo"
COMMAND = [sys.executable, "-P", str(DEMO / "demo.py")]
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


@pytest.fixture
def demo(monkeypatch):
    """Imports a module of the demo by name, for this test only."""
    monkeypatch.syspath_prepend(DEMO)
    yield importlib.import_module
    for path in DEMO.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def checks(demo):
    return demo("checks")


@contextmanager
def playing():
    """The running demo. A test reads its output."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # not killed: it would leave its own processes behind
                process.communicate(timeout=90)


def until(process, text):
    """Return the output up to a line with this text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"{text!r} never came:\n{''.join(lines)}")


def pids(output):
    return {name: int(pid) for name, pid in re.findall(r"(server|worker-\d) \(pid (\d+)\)", output)}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_shows_four_runs_stays_up_to_look_at_them_and_exits_0(monkeypatch):
    monkeypatch.setenv("RUNSTEAD_DEMO_STAYS", "1")
    with playing() as process:
        shown = until(process, "Ctrl-C ends the server")
        url = re.search(r"http://127\.0\.0\.1:\d+/ui", shown)[0]
        key = re.search(r"Sign in with the key (\w+)", shown)[1]
        with httpx2.Client() as browser:
            assert browser.post(f"{url}/sign-in", data={"credential": key}).status_code == 303
            assert "task:inventory" in browser.get(f"{url}/projects/demo/runs").text
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    shown += rest

    assert process.returncode == 0, shown
    assert "NOT AS EXPECTED" not in shown
    assert "Traceback" not in shown
    assert "\x1b" not in shown, "colour in a pipe"
    for line in (
        r"[0-9. ]+s +1  RUN_STARTED",
        r"[0-9. ]+s +\d+  CUSTOM +progress done=\d+ total=\d+ path=\S+",
        r"[0-9. ]+s +\d+  REASONING_MESSAGE_CONTENT  \"I need the sizes\"",
        r"[0-9. ]+s +\d+  TOOL_CALL_START +count_lines",
        r"[0-9. ]+s +\d+  RUN_FINISHED +model=scripted-agent-1 inputTokens=15 outputTokens=\d+",
        r"[0-9. ]+s +\d+  RUN_ERROR +Run cancelled CANCELLED",
        r"worker-1 was killed \(SIGKILL, exit code -9\).*",
        r"ok  attempts: lease_expired, completed",
        r"ok  output: below 1000000, primes 78498, resumed_from \d+",
        r"ok  exit code of worker-2: 0",
        r"ok  exit code of server: 0",
        r"── All as expected, in \d+ s",
    ):
        assert re.search(rf"^ *{line}$", shown, re.MULTILINE), line
    runs = [json.loads(text) for text in re.findall(r"^\{\n.*?^\}$", shown, re.MULTILINE | re.DOTALL)]
    assert [(run["kind"], run["status"], run["attempt"]) for run in runs] == [
        ("task", "completed", 1),
        ("agent", "completed", 1),
        ("task", "cancelled", 1),
        ("task", "completed", 2),
    ]
    assert not any(map(alive, pids(shown).values()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_processes(number):
    with playing() as process:
        output = until(process, "RUN_STARTED")
        children = pids(output)
        assert set(children) == {"server", "worker-1"}
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Interrupted. All processes of the demo were ended." in rest
    assert "Traceback" not in rest
    assert not any(map(alive, children.values()))


def test_a_process_that_dies_too_early_is_reported_with_its_stderr_and_exits_1():
    with playing() as process:
        output = until(process, "3 of 4")
        children = pids(output)
        os.kill(children["worker-1"], signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "NOT AS EXPECTED  worker-1 was killed by signal 9 in the middle of the demo" in rest
    assert "stderr of worker-1" in rest
    assert "of project demo serves agent, task" in rest
    assert not any(map(alive, children.values()))


def event(number, kind="CUSTOM", **members):
    return Event(event_id=number, event_type=kind, payload={"type": kind, **members})


def progress(number, upto, attempt):
    return event(number, name="progress", value={"upto": upto, "primes": 0, "attempt": attempt})


def run(status="completed", **members):
    owner = Owner(kind="project", id="p")
    known = {"run_id": "r", "kind": "task", "root_run_id": "r", "created_at": NOW, "updated_at": NOW}
    return Run(status=status, owner=owner, **(known | members))


def ended(checks, run, events, outcomes, stored=None):
    attempts = [Attempt(attempt=n, outcome=o, lease_owner=f"w{n}") for n, o in enumerate(outcomes, 1)]
    return checks.Ended(run, events, events if stored is None else stored, attempts)


def wrong(found):
    return [check.what for check in found if not check.ok]


EVENTS = [event(1, "RUN_STARTED"), event(2), event(3, "RUN_FINISHED")]
GOOD = run(latest_event_id=3)


def test_a_run_that_ended_well_is_as_expected(checks):
    assert (
        wrong(checks.lifecycle(ended(checks, GOOD, EVENTS, ["completed"]), "completed", ["completed"])) == []
    )


@pytest.mark.parametrize(
    ("final", "events", "outcomes", "noticed"),
    [
        (run("failed", latest_event_id=3), EVENTS, ["completed"], ["status"]),
        (GOOD, EVENTS, ["lease_expired", "completed"], ["attempts"]),
        (
            GOOD,
            [EVENTS[0], EVENTS[2]],
            ["completed"],
            ["without a gap", "counts", "one terminal", "the stored log"],
        ),
        (run(latest_event_id=4), EVENTS, ["completed"], ["counts"]),
        (GOOD, EVENTS[:2], ["completed"], ["counts", "one terminal", "the stored log"]),
        (
            run(latest_event_id=4),
            [*EVENTS, event(4, "RUN_ERROR")],
            ["completed"],
            ["one terminal", "the stored log"],
        ),
        (GOOD, [], ["completed"], ["counts", "one terminal", "the stored log"]),
    ],
)
def test_what_is_wrong_with_a_final_run_is_noticed(checks, final, events, outcomes, noticed):
    found = checks.lifecycle(ended(checks, final, events, outcomes, EVENTS), "completed", ["completed"])
    assert len(wrong(found)) == len(noticed)
    assert all(part in what for part, what in zip(noticed, wrong(found), strict=True))


def test_a_failed_check_shows_the_expected_and_the_actual_value(checks):
    assert str(checks.Check("status", "completed", "failed")) == (
        "status: expected completed, but it was failed"
    )


async def test_one_failed_check_is_shown_and_makes_the_demo_exit_1(demo, checks, monkeypatch, capsys):
    async def play(terminal, folder, _):
        final = run("failed", latest_event_id=3)
        found = ended(checks, final, EVENTS, ["completed"])
        terminal.checks(checks.lifecycle(found, "completed", ["completed"]))

    program = demo("demo")
    monkeypatch.setattr(program, "play", play)
    assert await program.main() == 1
    shown = capsys.readouterr().out
    assert "NOT AS EXPECTED  status: expected completed, but it was failed\n" in shown
    assert "ok  attempts: completed\n" in shown
    assert "Not as expected: 1." in shown
    assert "All as expected" not in shown


@pytest.mark.parametrize(("stopped_s", "noticed"), [(0.1, 0), (4.9, 1), (None, 1)])
def test_a_worker_that_did_not_stop_by_itself_is_noticed(checks, stopped_s, noticed):
    at = None if stopped_s is None else NOW + timedelta(seconds=stopped_s)
    final = run(
        "cancelled",
        error=RunError(message="Run cancelled", code="CANCELLED"),
        cancellation=Cancellation(requested_at=NOW, reason="why", stopped_at=at),
    )
    found = checks.cancelled(ended(checks, final, EVENTS, ["cancelled"]), "why", 5)
    assert len(wrong(found)) == noticed


@pytest.mark.parametrize(
    ("blocks", "resumed_from", "noticed"),
    [
        ([(1, 1), (2, 1), (3, 2), (4, 2)], 2, []),
        ([(1, 1), (2, 1), (2, 2), (3, 2), (4, 2)], 2, ["every block was counted once"]),
        ([(1, 1), (2, 1), (3, 2), (4, 2)], 0, ["output"]),
        ([(1, 2), (2, 2), (3, 2), (4, 2)], None, ["both attempts emitted events"]),
    ],
)
def test_a_takeover_that_repeats_or_skips_work_is_noticed(checks, blocks, resumed_from, noticed):
    events = [progress(number, upto, attempt) for number, (upto, attempt) in enumerate(blocks, 1)]
    final = run(output={"below": 4, "primes": 2, "resumed_from": resumed_from})
    found = checks.takeover(ended(checks, final, events, ["lease_expired", "completed"]), 4, 1, 2)
    assert [what.split(",")[0] for what in wrong(found)] == noticed


@pytest.mark.parametrize("content", [None, "[]"])
def test_an_artifact_that_is_gone_or_another_is_noticed(checks, tmp_path, content):
    path = tmp_path / "inventory.json"
    if content is not None:
        path.write_text(content)
    artifact = {"name": path.name, "uri": path.as_uri(), "size": 70, "sha256": "0" * 64}
    final = run(output={"files": 0, "bytes": 0, "lines": 0}, artifacts=[artifact])
    found = checks.inventory(ended(checks, final, [], ["completed"]), 0)
    assert "the artifact is on disk as it was reported" in wrong(found)
