"""Delayed runs: a claim that waits gets a run when its time has come, and not at a later poll."""

import statistics
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.server import Server

DELAYED = 7


@pytest.fixture(params=["sqlite", "postgres"])
def api(request, tmp_path):
    database = tmp_path / "runstead.db" if request.param == "sqlite" else request.getfixturevalue("url")
    server = Server(tmp_path, database).start()
    with server.api() as api:
        yield api
    server.kill()


def moment(text):
    return datetime.fromisoformat(text)


def create(api, project_id, run_id, at):
    body = {"kind": "task", "owner": {"kind": "project", "id": project_id}, "public_id": run_id}
    body |= {"request": {"target": "task:e2e"}, "available_at": at.isoformat()}
    return api.post("/runs", body)["run"]


@pytest.mark.alone
def test_a_waiting_claim_gets_a_delayed_run_within_100_ms_of_its_time(api):
    project_id, worker_id = api.project_id(), api.register("patient")
    at = datetime.now(UTC)
    due = []
    for n in range(DELAYED):
        at += timedelta(milliseconds=470)
        due.append(moment(create(api, project_id, f"delayed-{n}", at)["available_at"]))
    late = []
    for n in range(DELAYED):
        assert api.claim(worker_id, wait_s=10)["run_id"] == f"delayed-{n}"
        late.append((moment(api.run(f"delayed-{n}")["started_at"]) - due[n]).total_seconds())
    assert min(late) >= 0
    assert statistics.median(late) < 0.1, late


@pytest.mark.alone
def test_a_waiting_claim_gets_a_run_within_100_ms_of_the_end_of_its_timer(api):
    project_id, worker_id = api.project_id(), api.register("patient")
    late = []
    for n in range(DELAYED):
        run_id = f"timed-{n}"
        create(api, project_id, run_id, datetime.now(UTC))
        claimed = api.claim(worker_id, wait_s=10)
        at = datetime.now(UTC) + timedelta(milliseconds=(300, 700, 1_100)[n % 3])
        body = {"reason": "event", "release": True, "resume_at": at.isoformat()}
        api.post(f"/runs/{run_id}/wait", body | {"attempt": claimed["attempt"]})
        assert api.claim(worker_id, wait_s=10)["run_id"] == run_id
        late.append((datetime.now(UTC) - at).total_seconds())
        api.complete(run_id)
    assert min(late) >= 0
    assert statistics.median(late) < 0.1, late
