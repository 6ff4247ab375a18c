"""A worker is killed between storing a large value and appending the step's result that refers to it."""

import subprocess
import sys
from pathlib import Path

from runstead.sdk import Client
from tests.support.server import PROJECT, environment
from tests.support.until import until

WORKER = Path(__file__).with_name("value_worker.py")


def test_a_kill_between_a_value_and_its_result_loses_and_repeats_nothing_that_is_stored(new_server, tmp_path):
    server = new_server(
        limits={"artifact_gc_tick_s": 0.1}, RUNSTEAD_ARTIFACTS_URL=f"file://{tmp_path}/kept"
    ).start()
    calls = tmp_path / "calls"
    arguments = [sys.executable, "-P", WORKER, server.url, server.key, PROJECT, str(calls)]

    def contents():
        return {path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}

    with Client(server.url, server.key, project=PROJECT) as client:
        run = client.start("task:large")
        assert subprocess.run(arguments, env=environment(), timeout=60, check=False).returncode == -9
        # The value is stored, and no event refers to it: the step has not ended.
        assert [event.event_type for event in client.events.list(run.id).data] == ["STEP_STARTED"]
        (orphan,) = calls.read_text().split()
        assert contents() == {f'"{orphan * 10_000}"'.encode()}
        held = client.runs.get(run.id)
        client.workers.release(held.lease_owner, run.id, retry_after_seconds=0, attempt=held.attempt)
        worker = subprocess.Popen(arguments, env=environment())
        try:
            output = run.result(timeout=60)
        finally:
            worker.kill()
            worker.wait()
        # The function ran again, as after any crash before its result is stored, and then never.
        assert calls.read_text().split() == [orphan, output]
        finished = client.events.list(run.id, event_types=["STEP_FINISHED"]).data
        assert [event.payload["stepName"] for event in finished] == ["make", "sleep"]
        assert len(contents()) == 2
        client.runs.delete(run.id)
        until(lambda: not contents(), "the orphan to be deleted with its run")
