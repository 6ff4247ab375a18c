"""A worker process is killed during its runs: another worker finishes them, and late writes of the dead one are refused."""

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from tests.support.server import PROJECT, Server, environment, note
from tests.support.until import until

WORKER = Path(__file__).with_name("dying_worker.py")
LEASE_S = 5
TARGETS = ("task:retried", "task:last")


def moment(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.fixture(scope="module")
def loss(tmp_path_factory):
    """A server, and two runs whose worker was killed: `retried` has an attempt left, `last` has no attempt left."""
    directory = tmp_path_factory.mktemp("lost-worker")
    server = Server(directory, directory / "runstead.db").start()
    worker = None
    try:
        with server.api() as api:
            project_id = api.project_id()
            retried = api.create(project_id, "task:retried")["run_id"]
            last = api.create(project_id, "task:last", backoff_limit=0)["run_id"]
            worker = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    WORKER,
                    server.url,
                    server.key,
                    PROJECT,
                    "dying",
                    str(LEASE_S),
                    *TARGETS,
                ],
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            held = {each["run_id"]: SimpleNamespace(**each) for each in json.loads(worker.stdout.readline())}
            worker.kill()
            yield SimpleNamespace(api=api, retried=held[retried], last=held[last])
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        server.kill()


@pytest.fixture(scope="module")
def second_attempt(loss):
    """The second worker's claim, as soon as the run can be claimed."""
    api, run_id = loss.api, loss.retried.run_id
    assert api.run(run_id)["status"] == "running"
    successor = api.register("successor")
    assert api.claim(successor, "task:retried") is None
    until(lambda: api.run(run_id)["status"] == "pending", "the lease to expire", LEASE_S + 3)
    claimed = api.claim(successor, "task:retried", wait_s=10)
    assert claimed["run_id"] == run_id
    return claimed | {"worker_id": successor}


def test_another_worker_gets_the_run_after_the_lease_and_a_backoff(loss, second_attempt):
    first, second = loss.api.attempts(loss.retried.run_id)
    assert (first["attempt"], first["outcome"]) == (1, "lease_expired")
    assert first["lease_owner"] == loss.retried.worker_id
    assert LEASE_S <= moment(first["ended_at"]) - moment(first["started_at"]) < LEASE_S + 3
    assert (second["attempt"], second["outcome"]) == (2, "running")
    assert second["lease_owner"] == second_attempt["worker_id"]
    # The backoff is 0.5 to 1 s. A long poll finds the due run within another second.
    assert 0.5 <= moment(second["started_at"]) - moment(first["ended_at"]) < 3


def late_writes(api, held):
    run, worker = f"/runs/{held.run_id}", f"/agent-workers/workers/{held.worker_id}/runs/{held.run_id}"
    proofs = [
        ({"attempt": held.attempt}, {}),
        ({}, {"X-Lease-Token": held.lease_token}),
        ({"attempt": held.attempt}, {"X-Lease-Token": held.lease_token}),
    ]
    for body, headers in proofs:
        yield api.http.post(f"{run}/events", json={"events": [note("late")], **body}, headers=headers)
        yield api.http.post(f"{run}/complete", json={"status": "completed", **body}, headers=headers)
        yield api.http.post(f"{run}/wait", json={"reason": "event", **body}, headers=headers)
        yield api.http.post(f"{worker}/release", json=body, headers=headers)
    heartbeat = {"attempt": held.attempt, "lease_duration_seconds": 60}
    yield api.http.post(f"{run}/heartbeats", json=heartbeat)


def test_late_writes_of_the_dead_worker_are_refused_and_the_second_attempt_completes(loss, second_attempt):
    api, run_id = loss.api, loss.retried.run_id
    answers = list(late_writes(api, loss.retried))
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (409, "ATTEMPT_SUPERSEDED")
    ] * len(answers)
    renewal = api.post(
        f"/agent-workers/workers/{loss.retried.worker_id}/runs/{run_id}/lease", {"lease_duration_seconds": 60}
    )
    assert renewal == {"run": None}
    assert [event["payload"]["value"] for event in api.events(run_id)] == [0, 1, 2]

    api.append(run_id, [note("second")], attempt=2)
    assert api.complete(run_id, output={"by": "successor"}, attempt=2)["completed"] is True

    run = api.run(run_id)
    assert (run["status"], run["output"], run["error"]) == ("completed", {"by": "successor"}, None)
    assert [each["outcome"] for each in api.attempts(run_id)] == ["lease_expired", "completed"]
    assert [event["event_type"] for event in api.events(run_id)] == ["CUSTOM"] * 4 + ["RUN_FINISHED"]
    answers = list(late_writes(api, loss.retried))
    assert {answer.status_code for answer in answers} == {409}
    assert api.run(run_id) == run


def test_a_run_without_attempts_left_fails_with_a_reason(loss):
    api, held = loss.api, loss.last
    run = until(
        lambda: (found := api.run(held.run_id))["status"] != "running" and found,
        "the lease to expire",
        LEASE_S + 3,
    )
    assert run["status"] == "failed"
    assert run["error"]["code"] == "LEASE_EXPIRED"
    detail = run["error"]["detail"]
    assert moment(detail.pop("last_heartbeat_at")) <= moment(run["started_at"]) + 1
    assert detail == {
        "reason": "lease_expired",
        "attempts": 1,
        "lease_owner": held.worker_id,
        "last_event_id": 3,
    }
    assert [each["outcome"] for each in api.attempts(held.run_id)] == ["lease_expired"]
    assert [event["event_type"] for event in api.events(held.run_id)] == ["CUSTOM"] * 3 + ["RUN_ERROR"]
    assert api.complete(held.run_id)["completed"] is False


def test_an_attempt_that_takes_longer_than_timeout_seconds_ends_although_its_worker_lives(api):
    run_id = api.create(api.project_id(), timeout_seconds=1)["run_id"]
    worker_id = api.register("slow")
    began = time.monotonic()
    assert api.claim(worker_id)["run_id"] == run_id
    while api.run(run_id)["status"] == "running":
        assert time.monotonic() - began < 60
        heartbeat = api.http.post(f"/runs/{run_id}/heartbeats", json={"attempt": 1})
        assert heartbeat.status_code in {httpx2.codes.OK, httpx2.codes.CONFLICT}
        time.sleep(0.02)
    assert time.monotonic() - began > 0.9
    run = api.run(run_id)
    assert (run["status"], run["error"]["code"]) == ("failed", "TIMEOUT")
    assert run["error"]["detail"]["reason"] == "timeout"
    assert run["error"]["detail"]["lease_owner"] == worker_id
    assert [each["outcome"] for each in api.attempts(run_id)] == ["timeout"]
