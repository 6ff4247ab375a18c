"""Delayed runs: a claim that waits gets a run when its time has come, and not at a later poll."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.server import Server

#: So rare that a claim which waits for a poll ends without a run.
LIMITS = {"claim_poll_s": 600, "deadlines_tick_s": 600}
#: On an idle machine it takes less than 0.1 s. A claim waits for 30 s.
LATE_S = 15


@pytest.fixture(params=["sqlite", "postgres"])
def api(request, tmp_path):
    database = tmp_path / "runstead.db" if request.param == "sqlite" else request.getfixturevalue("url")
    server = Server(tmp_path, database, limits=LIMITS).start()
    with server.api(timeout_s=60) as api:
        yield api
    server.kill()


def moment(text):
    return datetime.fromisoformat(text)


def create(api, project_id, run_id, at):
    body = {"kind": "task", "owner": {"kind": "project", "id": project_id}, "public_id": run_id}
    body |= {"request": {"target": "task:e2e"}, "available_at": at.isoformat()}
    return api.post("/runs", body)["run"]


def test_a_waiting_claim_gets_a_delayed_run_at_its_time(api):
    project_id, worker_id = api.project_id(), api.register("patient")
    at = datetime.now(UTC)
    due = []
    for n in range(3):
        at += timedelta(milliseconds=470)
        due.append(moment(create(api, project_id, f"delayed-{n}", at)["available_at"]))
    for n in range(3):
        assert api.claim(worker_id, wait_s=30)["run_id"] == f"delayed-{n}"
        late = moment(api.run(f"delayed-{n}")["started_at"]) - due[n]
        assert timedelta() <= late < timedelta(seconds=LATE_S)


def test_a_waiting_claim_gets_a_run_at_the_end_of_its_timer(api):
    project_id, worker_id = api.project_id(), api.register("patient")
    for run_id, wait_s in (("short", 0.3), ("long", 0.7)):
        create(api, project_id, run_id, datetime.now(UTC))
        claimed = api.claim(worker_id, wait_s=30)
        at = datetime.now(UTC) + timedelta(seconds=wait_s)
        body = {"reason": "event", "release": True, "resume_at": at.isoformat()}
        api.post(f"/runs/{run_id}/wait", body | {"attempt": claimed["attempt"]})
        assert api.claim(worker_id, wait_s=30)["run_id"] == run_id
        assert timedelta() <= datetime.now(UTC) - at < timedelta(seconds=LATE_S)
        api.complete(run_id)
