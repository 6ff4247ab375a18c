import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runstead.sdk import App, LeaseLostError, RunFailed
from runstead.sdk.durable.emitter import LOG_BYTES
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.isolation.output import STREAMED_CHARS_MAX, TEXT_CHARS
from tests.support.until import eventually


def sh(script):
    return ["/bin/sh", "-c", script]


@pytest.fixture
def command(handler_server):
    """A run of a command, with a server that keeps its events."""

    def make(program, given=None, config=None, **options):
        app = App()
        app.command("task:c", program, **options)
        return handler_server(app, "c", input=given, **(config or {}))

    return make


def output(log, stream="stdout"):
    values = [event.payload["value"] for event in log.events if event.payload.get("name") == "run.output"]
    return "".join(value["text"] for value in values if value["stream"] == stream)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


async def test_a_program_gets_its_run_and_its_output_is_kept(command, monkeypatch, tmp_path):
    monkeypatch.setenv("RUNSTEAD_API_KEY", "secret")
    monkeypatch.setenv("COLOUR", "blue")
    script = (
        'echo "$RUNSTEAD_RUN_ID $RUNSTEAD_TARGET $RUNSTEAD_ATTEMPT $COLOUR $SHAPE [$RUNSTEAD_API_KEY]"; pwd;'
        ' echo "$RUNSTEAD_CONFIG" >&2; cat > "$RUNSTEAD_OUTPUT"'
    )
    log = command(sh(script), [1, "ü"], {"depth": 2}, cwd=tmp_path, env={"SHAPE": "round"})
    assert await log.run_handler() == [1, "ü"]
    assert output(log) == f"r task:c 1 blue round []\n{tmp_path}\n"
    assert json.loads(output(log, "stderr")) == {"depth": 2}
    assert sorted(log.context.logs.splitlines()) == sorted(
        [*output(log).splitlines(), *output(log, "stderr").splitlines()]
    )
    assert log.context.exit_code == 0


async def test_the_last_line_of_stdout_may_be_the_output(command):
    log = command(sh("echo working; echo '{\"n\": 3}'; echo; echo not this >&2"), output="stdout")
    assert await log.run_handler() == {"n": 3}


async def test_an_exit_code_fails_the_run_after_its_retries(command, tmp_path):
    log = command(sh("echo x >> tries; exit 3"), cwd=tmp_path, retries=1)
    with pytest.raises(ProcessFailed) as failed:
        await log.run_handler()
    assert (failed.value.code, failed.value.detail) == ("EXIT_3", {"exit_code": 3})
    assert log.context.exit_code == 3
    assert (tmp_path / "tries").read_text() == "x\nx\n"


async def test_a_signal_fails_the_run_as_a_crash(command):
    log = command(sh("kill -ABRT $$"))
    with pytest.raises(ProcessFailed) as failed:
        await log.run_handler()
    assert (failed.value.code, failed.value.detail) == ("CRASHED", {"signal": "SIGABRT", "exit_code": 134})


@pytest.mark.parametrize(
    ("program", "options", "code"),
    [
        (["/does/not/exist"], {}, "COMMAND_NOT_STARTED"),
        (sh("true"), {"cwd": "/does/not/exist"}, "COMMAND_NOT_STARTED"),
        (sh("echo no json"), {"output": "stdout"}, "RESULT_NOT_JSON"),
        (sh('head -c 2000000 /dev/zero > "$RUNSTEAD_OUTPUT"'), {}, "RESULT_TOO_LARGE"),
        (sh("true"), {"config": {"text": "x" * 200_000}}, "INVALID_INPUT"),
    ],
)
async def test_a_program_that_cannot_run_or_whose_output_cannot_be_read_fails_the_run(
    program, options, code, command
):
    with pytest.raises(RunFailed) as failed:
        await command(program, **options).run_handler()
    assert failed.value.code == code


async def test_lines_are_streamed_while_the_program_runs(command, tmp_path):
    log = command(
        sh("echo one; echo two; printf thr; until [ -e go ]; do sleep 0.01; done; echo ee"), cwd=tmp_path
    )
    working = asyncio.ensure_future(log.run_handler())
    await eventually(lambda: output(log) == "one\ntwo\nthr")
    (tmp_path / "go").touch()
    await working
    assert output(log) == "one\ntwo\nthree\n"
    assert len(log.events) == 3


async def test_bytes_that_are_no_text_are_replaced(command):
    log = command(sh(r"printf 'a\377b\000c \303'; sleep 0.05; printf '\274\n'"))
    await log.run_handler()
    assert output(log) == "a\ufffdb\ufffdc ü\n"


async def test_a_flood_of_output_fills_neither_memory_nor_the_log_of_events(command):
    flood = "import os\nb = b'0123456789abcde\\n' * 65536\nfor _ in range(256): os.write(1, b)\nos.write(1, b'the end\\n')"
    log = command([sys.executable, "-S", "-c", flood])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await log.run_handler()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert STREAMED_CHARS_MAX <= len(output(log)) < STREAMED_CHARS_MAX + 200
    assert max(len(event.payload["value"]["text"]) for event in log.events) <= TEXT_CHARS
    logs = log.context.logs
    assert logs.endswith("\nthe end")
    assert LOG_BYTES * 0.8 < len(logs) <= LOG_BYTES + 100
    assert "dropped" in logs[:60]


async def test_a_line_without_an_end_is_cut(command):
    log = command(sh("head -c 300000 /dev/zero | tr '\\0' x"), output="file")
    await log.run_handler()
    assert output(log) == "x" * 300_000


async def test_a_cancelled_program_is_ended_with_its_process_group(command, tmp_path):
    script = "trap '' TERM; sleep 3600 & echo \"$$ $!\" > new; mv new pids; while :; do sleep 0.1; done"
    log = command(sh(script), cwd=tmp_path, stop_seconds=0.3)
    working = asyncio.ensure_future(log.run_handler())
    await eventually((tmp_path / "pids").exists)
    began = time.monotonic()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert 0.25 < time.monotonic() - began < 60
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        await eventually(lambda pid=pid: gone(pid))


async def test_a_program_may_clean_up_on_sigterm(command, tmp_path):
    script = "trap 'echo cleaned > trace; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    log = command(sh(script), cwd=tmp_path, timeout_seconds=1.5)
    with pytest.raises(Exception, match="longer than") as failed:
        await log.run_handler()
    assert failed.value.code == "TIMEOUT"
    assert (tmp_path / "trace").read_text() == "cleaned\n"


async def test_a_grandchild_that_keeps_the_output_open_does_not_keep_the_run(command, tmp_path):
    escape = "import os, time\nif os.fork() == 0:\n    os.setsid(); open('pid', 'w').write(str(os.getpid())); time.sleep(3600)"
    log = command([sys.executable, "-S", "-c", escape + "\nelse:\n    time.sleep(0.2)"], cwd=tmp_path)
    began = time.monotonic()
    await log.run_handler()
    assert time.monotonic() - began < 60
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_a_program_whose_run_is_lost_is_ended(command, tmp_path):
    log = command(sh('echo "$$" > new; mv new pids; while :; do echo x; sleep 0.05; done'), cwd=tmp_path)
    log.lost = True
    with pytest.raises(LeaseLostError):
        await log.run_handler()
    assert gone(int((tmp_path / "pids").read_text()))


WORKER = """
import asyncio, sys
from pathlib import Path
from runstead.sdk import App, Calls, Context
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.durable.attempt import Attempt

async def send(call):
    (Path(sys.argv[1]) / "sent").touch()

app = App()
app.command("task:c", ["/bin/sh", "-c", "sleep 60 & echo $$ $! > pids; echo started; wait"], cwd=sys.argv[1])
run = ClaimedRun(run_id="r", status="running", target="task:c", attempt=1, latest_event_id=0, lease_token="t")
asyncio.run(app(run, Context(Attempt(run, Calls(), send))))
"""


async def test_a_worker_killed_leaves_no_program(tmp_path):
    worker = subprocess.Popen([sys.executable, "-P", "-c", WORKER, str(tmp_path)])  # noqa: ASYNC220
    try:
        await eventually(
            (tmp_path / "sent").exists
        )  # the worker has the program's output, so its guard knows the program
    finally:
        worker.kill()
        worker.wait()
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        await eventually(lambda pid=pid: gone(pid))


def test_a_command_is_a_list():
    app = App()
    with pytest.raises(TypeError, match="there is no shell"):
        app.command("task:c", "make all")
    with pytest.raises(ValueError, match="like task:sync-data"):
        app.command("build", ["make"])
