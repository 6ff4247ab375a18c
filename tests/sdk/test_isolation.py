import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop

from runstead.sdk import App, Calls, LeaseLostError, RunFailed
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.suspension import Parked
from runstead.sdk.isolation.failure import ProcessFailed, crashed
from runstead.sdk.isolation.loading import load, reference
from tests.support.until import eventually

APP = Path(__file__).parent / "isolated_app.py"
app, strict = load(f"{APP}:app"), load(f"{APP}:strict")


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


async def test_steps_waits_and_values_are_stored_across_processes(tmp_path, handler_server):
    log = handler_server(app, "steps", folder=str(tmp_path))
    with pytest.raises(Parked):
        await log.run_handler()
    assert log.waits["tool_name"] == "sleep"
    assert log.waits["release"] is True
    assert 1 << 70 in [event.payload.get("value") for event in log.events]
    log.add_event(
        {
            "type": "CUSTOM",
            "name": "run.resumed",
            "value": {"tool_call_id": log.waits["tool_call_id"], "type": "timer"},
        }
    )
    log.attempt()
    done = await log.run_handler()
    assert {name: (tmp_path / name).read_text() for name in ("first", "left", "right")} == {
        "first": "x",
        "left": "x",
        "right": "x",
    }
    assert len(set(done["steps"])) == 1
    assert done["pid"] not in {os.getpid(), *done["steps"]}
    assert log.context.exit_code == 0
    assert log.context.metadata == {"model": "m"}
    assert re.fullmatch(r"\S+Z INFO \[attempt 1\] a line", log.context.logs)


async def test_a_plain_function_calls_its_context_from_its_process(tmp_path, handler_server):
    log = handler_server(app, "plain", folder=str(tmp_path))
    done = await log.run_handler()
    assert done["got"] == "kept"
    (created,) = [json.loads(call.content()) for call in log.calls if call.path == "/runs"]
    assert created["public_id"] == done["child"]
    assert [event.event_type for event in log.events] == ["STEP_STARTED", "STEP_FINISHED"] * 2


async def test_a_wait_that_a_process_turns_into_a_failure_is_a_wait_and_may_be_resumed_without_a_result(
    tmp_path, handler_server
):
    log = handler_server(app, "covers", folder=str(tmp_path))
    with pytest.raises(Parked):
        await log.run_handler()
    assert log.waits["tool_name"] == "sleep"
    log.attempt()
    log.ended_by_hand = True
    assert await log.run_handler() == "woken"


async def test_a_step_with_a_final_failure_in_a_process_fails_its_run_at_once(tmp_path, handler_server):
    with pytest.raises(ProcessFailed) as failed:
        await handler_server(app, "final", folder=str(tmp_path)).run_handler()
    assert (failed.value.code, failed.value.detail, failed.value.step_id) == ("NO", {"a": 1}, "1")
    assert (tmp_path / "tries").read_text() == "x"


async def test_a_process_whose_code_has_changed_waits_for_fitting_code(tmp_path, handler_server):
    log = handler_server(app, "shrinks", folder=str(tmp_path))
    with pytest.raises(Parked):
        await log.run_handler()
    for name, sentence in [("shorter", "the code ends before it"), ("other", "'two' in the code")]:
        (tmp_path / "code").write_text(name)
        log.attempt()
        with pytest.raises(Parked):
            await log.run_handler()
        assert log.waits["tool_name"].startswith(f"blocked: step 1 is 'one' in the log, and {sentence} (")
        assert re.search(r"isolated_app\.py:\d+\)$", log.waits["tool_name"])
    (tmp_path / "code").unlink()
    log.attempt()
    with pytest.raises(Parked):
        await log.run_handler()
    assert log.waits["tool_name"] == "sleep"
    assert (tmp_path / "one").read_text() == "x"


async def test_a_process_whose_code_has_changed_fails_where_its_app_says_so(tmp_path, handler_server):
    log = handler_server(strict, "shrinks", folder=str(tmp_path))
    with pytest.raises(Parked):
        await log.run_handler()
    (tmp_path / "code").write_text("shorter")
    log.attempt()
    with pytest.raises(RunFailed) as failed:
        await log.run_handler()
    assert failed.value.code == "NON_DETERMINISTIC"


async def test_a_crash_is_retried_and_then_fails_the_run_with_its_signal(tmp_path, handler_server):
    log = handler_server(app, "crash", folder=str(tmp_path))
    with pytest.raises(ProcessFailed) as failed:
        await log.run_handler()
    assert (tmp_path / "tries").read_text() == "xx"
    assert failed.value.code == "CRASHED"
    assert failed.value.detail == {"signal": "SIGSEGV", "exit_code": 139}
    assert log.context.exit_code == 139
    assert log.context.logs.count("about to die") == 2


async def test_a_finished_step_is_not_called_again_after_a_crash(tmp_path, handler_server):
    assert await handler_server(app, "fragile", folder=str(tmp_path)).run_handler() == "done"
    assert (tmp_path / "once").read_text() == "x"


async def test_a_memory_bomb_fails_only_its_own_run(handler_server):
    with pytest.raises(ProcessFailed) as failed:
        await handler_server(app, "bomb").run_handler()
    assert failed.value.code == "OUT_OF_MEMORY"


async def test_an_endless_loop_ends_with_its_cpu_time(handler_server):
    with pytest.raises(ProcessFailed) as failed:
        await handler_server(app, "loop").run_handler()
    assert failed.value.code == "CPU_TIME_EXCEEDED"
    assert failed.value.detail["signal"] == "SIGXCPU"


async def test_a_plain_function_that_takes_too_long_is_ended(handler_server):
    with pytest.raises(Exception, match=r"longer than 0\.6 s") as failed:
        await handler_server(app, "slow").run_handler()
    assert failed.value.code == "TIMEOUT"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("exit", "CRASHED"),
        ("escape", "CRASHED"),
        ("killed", "CRASHED"),
        ("sys.exit", "SYSTEM_EXIT"),
        ("declared", "NO"),
        ("raised", "KeyError"),
        ("", "RESULT_NOT_JSON"),
    ],
)
async def test_the_outcome_of_a_handler_is_reported(how, code, handler_server):
    with pytest.raises((ProcessFailed, RunFailed)) as failed:
        await handler_server(app, "quits", how=how).run_handler()
    assert failed.value.code == code
    if how == "exit":
        assert failed.value.detail == {"signal": None, "exit_code": 7}
    if how == "killed":
        assert failed.value.detail == {"signal": "SIGTERM", "exit_code": 143}
    if how == "declared":
        assert failed.value.detail == {"a": 1}
    if how == "raised":
        assert "isolated_app.py" in failed.value.detail["traceback"]


async def cancelled(name, folder, handler_server):
    """Start a handler, and cancel it when it works. Return the seconds that the cancel took, and its processes.

    The handler would work for an hour, and be killed after another.
    """
    log = handler_server(app, name, folder=str(folder))
    working = asyncio.ensure_future(log.run_handler())
    await eventually((folder / "pids").exists)
    began = time.monotonic()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    return time.monotonic() - began, json.loads((folder / "pids").read_text())


async def test_a_child_that_ignores_sigterm_is_killed_with_its_process_group(tmp_path, handler_server):
    took, (child, grandchild) = await cancelled("stubborn", tmp_path, handler_server)
    assert 0.25 < took < 60
    assert gone(child)
    await eventually(lambda: gone(grandchild))


@pytest.mark.parametrize("name", ["cleans", "awaits"])
async def test_a_cancelled_handler_may_clean_up(name, tmp_path, handler_server):
    took, (child,) = await cancelled(name, tmp_path, handler_server)
    assert took < 60
    assert gone(child)
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("was_cancelled", [True, False], ids=["cancelled", "lost"])
@pytest.mark.parametrize("name", ["unlocks", "unlocks plainly"])
async def test_the_steps_of_a_finally_run_when_the_run_is_cancelled(
    name, was_cancelled, tmp_path, handler_server
):
    log = handler_server(app, name, folder=str(tmp_path))

    async def answer():
        return was_cancelled

    log.context.was_cancelled = answer
    working = asyncio.ensure_future(log.run_handler())
    await eventually((tmp_path / "pids").exists)
    log.context.close()  # as a worker does that lost the run
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (tmp_path / "cleaned").exists() is was_cancelled
    assert [event for event in log.events if event.payload.get("stepName") == "unlock"] == []


async def test_the_steps_that_run_while_a_try_is_stopped_are_found(tmp_path, handler_server):
    log = handler_server(app, "unlocks", folder=str(tmp_path))
    working = asyncio.ensure_future(log.run_handler())
    await eventually((tmp_path / "pids").exists)
    working.cancel()  # as a timeout does
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (tmp_path / "cleaned").exists()
    assert log.context.first_block_step(TimeoutError()) == "1"


async def test_the_steps_of_a_finally_run_again_after_a_retry(tmp_path, handler_server):
    log = handler_server(app, "unlocks again", folder=str(tmp_path))
    assert await log.run_handler() == "done"  # the fake server continues a retry at once
    assert (tmp_path / "calls").read_text() == "lock unlock work unlock "


async def test_a_forgotten_await_and_the_cause_of_a_failed_step_are_found_in_a_process(handler_server):
    with pytest.raises(RunFailed) as forgotten:
        await handler_server(app, "forgets").run_handler()
    assert forgotten.value.code == "STEP_NOT_AWAITED"
    assert f"{APP}:" in forgotten.value.message
    with pytest.raises(ProcessFailed) as failed:
        await handler_server(app, "declines").run_handler()
    assert (failed.value.code, failed.value.detail["type"]) == ("CardDeclined", "CardDeclined")
    lines = failed.value.detail["traceback"].splitlines()
    assert lines[1].endswith("in charge")
    assert not any("/runstead/sdk/" in line for line in lines)


async def test_a_second_cancel_kills_at_once(tmp_path, handler_server):
    log = handler_server(app, "cleans", folder=str(tmp_path))
    working = asyncio.ensure_future(log.run_handler())
    await eventually((tmp_path / "pids").exists)
    (child,) = json.loads((tmp_path / "pids").read_text())
    os.kill(child, signal.SIGSTOP)
    working.cancel()
    await asyncio.sleep(0.05)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await eventually(lambda: gone(child))


async def test_messages_logs_usage_and_artifacts_of_a_process_belong_to_its_run(handler_server):
    log = handler_server(app, "messages")
    assert await log.run_handler() == "emitted"
    await log.context.finish()
    assert log.context.logs.endswith("INFO [attempt 1] mine: from logging")
    assert log.context.completion_metadata["inputTokens"] == 3
    kinds = [event.event_type for event in log.events]
    assert kinds[-3:] == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]
    (stored,) = [call for call in log.calls if call.method == "PUT"]
    assert b"".join(stored.content().chunks()) == b"a,b"
    assert stored.headers["Content-Type"] == "text/csv"


async def test_a_grandchild_left_behind_ends_with_its_handler(tmp_path, handler_server):
    assert await handler_server(app, "leaves", folder=str(tmp_path)).run_handler() == "done"
    (grandchild,) = json.loads((tmp_path / "pids").read_text())
    await eventually(lambda: gone(grandchild))


async def test_a_flood_of_events_does_not_fill_the_workers_memory(handler_server):
    log = handler_server(app, "floods")
    count = 0

    async def send(call):
        nonlocal count
        count += len(json.loads(call.content())["events"])
        await asyncio.sleep(0.001)

    log.context = Attempt(log.run, Calls(), send)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await log.run_handler() == "emitted"
    assert count == 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_a_lost_lease_is_raised_in_the_handler(tmp_path, handler_server):
    log = handler_server(app, "steps", folder=str(tmp_path))
    log.lost = True
    with pytest.raises(LeaseLostError):
        await log.run_handler()


WORKER = """
import asyncio, importlib.util, sys
from runstead.sdk import App, Calls, Context
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.isolation.loading import load

async def send(call):
    pass

run = ClaimedRun(run_id="r", status="running", target="task:stubborn", attempt=1, latest_event_id=0,
                 lease_token="t", config={"folder": sys.argv[2]})
asyncio.run(load(sys.argv[1])(run, Context(Attempt(run, Calls(), send))))
"""


async def test_a_worker_killed_leaves_no_child(tmp_path):
    worker = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-P", "-c", WORKER, f"{APP}:app", str(tmp_path)]
    )
    try:
        await eventually((tmp_path / "pids").exists)
    finally:
        worker.kill()
        worker.wait()
    child, grandchild = json.loads((tmp_path / "pids").read_text())
    await eventually(lambda: gone(child) and gone(grandchild))


def test_an_app_is_found_by_its_module_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "held_app.py").write_text("from runstead.sdk import App\nheld = App()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    held = load("held_app:held")
    assert reference(held) == "held_app:held"
    with pytest.raises(ValueError, match="cannot find the app"):
        reference(object())
    with pytest.raises(ValueError, match="has no other"):
        load("held_app:other")


def test_the_limits_need_a_process():
    with pytest.raises(ValueError, match='needs isolation="process"'):
        app.task("x", memory_mb=100)
    with pytest.raises(ValueError, match="at least 64"):
        app.task("x", isolation="process", memory_mb=1)
    with pytest.raises(TypeError, match="There is no memory"):
        app.task("x", isolation="process", memory=1)


def test_signals_are_reported_by_name():
    assert crashed("It", -9).detail == {"signal": "SIGKILL", "exit_code": 137}
    assert crashed("It", -62).detail["exit_code"] == 190


def test_a_worker_on_uvloop_runs_processes_and_programs(tmp_path, handler_server):
    both = App()
    both.reference = app.reference
    both._served = dict(app._served)
    both.command("task:echo", ["/bin/cat"], output="stdout")

    async def work():
        leaves = handler_server(both, "leaves", folder=str(tmp_path))
        assert await leaves.run_handler() == "done"
        assert await handler_server(both, "echo", input=[1]).run_handler() == [1]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


async def test_an_app_that_cannot_be_imported_fails_the_run(handler_server, monkeypatch):
    monkeypatch.setattr(app, "reference", "no_such_module:app")
    with pytest.raises(ProcessFailed) as failed:
        await handler_server(app, "quits", how="").run_handler()
    assert failed.value.code == "APP_NOT_LOADED"
    assert "no_such_module" in str(failed.value)
