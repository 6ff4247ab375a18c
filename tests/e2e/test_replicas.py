"""Two servers over one PostgreSQL: each sees the other's writes, claims and events, and one can die."""

import json
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from runstead.sdk import Client
from tests.support.server import KEY, SHORT_LEASE, note, runstead
from tests.support.until import until

TARGET = {"kind": "agent", "id": "scribe"}


@pytest.fixture
def replicas(two_servers):
    return two_servers


def test_commands_work_on_postgres(url, tmp_path):
    settings = {"RUNSTEAD_DATABASE_URL": url}
    code, stdout, stderr = runstead("projects", "create", "inventory", "--json", cwd=tmp_path, **settings)
    assert (code, stderr) == (0, "")
    made = json.loads(stdout)
    code, stdout, _ = runstead("projects", "list", "--json", cwd=tmp_path, **settings)
    assert json.loads(stdout) == [made]
    code, stdout, _ = runstead("keys", "create", "--project", "inventory", cwd=tmp_path, **settings)
    assert (code, stdout[:3]) == (0, "vf_")


@pytest.mark.parametrize("command", [("projects", "list"), ("serve", "--port", "0")])
def test_an_unreachable_database_is_reported_in_one_sentence(tmp_path, command):
    settings = {"RUNSTEAD_DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/runstead"}
    code, stdout, stderr = runstead(*command, cwd=tmp_path, **settings)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("runstead: cannot use the database 127.0.0.1:1/runstead: ")
    assert "secret" not in stderr


def test_an_invalid_notifier_is_reported_in_one_sentence(tmp_path):
    code, _, stderr = runstead("serve", cwd=tmp_path, RUNSTEAD_NOTIFIER="redis://user:secret@host")
    assert (code, stderr.count("\n")) == (1, 1)
    assert "RUNSTEAD_NOTIFIER must be nats://" in stderr
    assert "secret" not in stderr


def test_a_worker_that_waits_at_one_replica_gets_a_run_that_is_created_at_the_other(replicas):
    _, (here, there) = replicas
    worker = there.register("waiting")
    got = []

    def wait():
        got.append(there.claim(worker, wait_s=30))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)  # so that the claim waits; it would get the run in any case
    run = here.create(here.project_id())
    waiting.join(60)
    [claimed] = got
    assert claimed["run_id"] == run["run_id"]


def test_a_follower_of_one_sees_what_is_appended_at_the_other(replicas):
    (_, second), (here, _) = replicas
    run_id = here.create(here.project_id())["run_id"]
    seen = []

    def follow():
        import httpx2

        headers = {"Authorization": f"Bearer {KEY}"}
        path = f"{second.url}/runs/{run_id}/stream"
        with httpx2.stream("GET", path, headers=headers, timeout=30) as response:
            seen.extend(line for line in response.iter_lines() if line.startswith("id:"))

    following = threading.Thread(target=follow)
    following.start()
    for n in range(5):
        here.append(run_id, [note(n)])
    here.complete(run_id)
    following.join(60)
    assert len(seen) == 6


def test_a_follower_of_the_project_at_one_replica_gets_changes_made_at_the_other(replicas):
    (first, second), _ = replicas
    here, there = (Client(server.url, KEY, project="default") for server in (first, second))
    with here, there, closing(there.notifications.follow(after="none")) as following:
        assert next(following).type == "resync"  # it is connected
        schedule = here.schedules.create("nightly", TARGET, "30 2 * * *").schedule
        run = here.schedules.run(schedule.id, idempotency_key="k")
        received = [next(following) for _ in range(2)]
        assert [one.type for one in received] == ["conversation.updated", "run.created"]
        assert there.schedules.run(schedule.id, idempotency_key="k") == run
        there.runs.cancel(run.run_id)
        assert (next(following).run_id, received[1].run_id) == (run.run_id, run.run_id)
        assert here.schedules.get(schedule.id).run_count == 1


def test_two_servers_fire_each_schedule_once(replicas):
    (first, second), _ = replicas
    here, there = (Client(server.url, KEY, project="default") for server in (first, second))
    with here, there:
        soon = datetime.now(UTC) + timedelta(seconds=5)
        target = {"kind": "task", "id": "count"}
        made = [
            each.schedules.create(f"once {n}", target, run_at=soon).schedule
            for each in (here, there)
            for n in range(5)
        ]
        until(lambda: len(list(here.runs.iter())) >= len(made), "every schedule to fire")
        runs = list(there.runs.iter())
        assert sorted(run.schedule_id for run in runs) == sorted(one.id for one in made)
        assert {run.scheduled_at for run in runs} == {one.run_at for one in made}
        assert all(here.schedules.get(one.id).completed_at is not None for one in made)


def test_when_one_replica_is_killed_the_other_continues(new_two_servers):
    (first, _), (here, there) = new_two_servers(limits=SHORT_LEASE)
    project = here.project_id()
    worker = here.register("dying")
    run_id = here.create(project)["run_id"]
    assert here.claim(worker, lease_s=5)["run_id"] == run_id
    first.kill()
    there.append(run_id, [note(1)])
    until(lambda: there.run(run_id)["status"] == "pending", "the lease to be taken away")
    until(lambda: there.claim(there.register("successor")), "another attempt")
    assert there.complete(run_id)["run"]["status"] == "completed"
