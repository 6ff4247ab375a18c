"""SIGKILL while runs are created and claimed with keys: no key has more runs than it may, and no acknowledged run is lost."""

import sqlite3
import threading

import httpx2

from tests.support.until import until

from .integrity import intact

RUNNING = (
    "SELECT concurrency_key, count(*) FROM runs WHERE status = 'running' AND available_at IS NULL GROUP BY 1"
)
ACTIVE = "SELECT unique_key, count(*) FROM runs WHERE status IN ('pending', 'running', 'waiting') GROUP BY 1"


def test_a_server_that_is_killed_twice_keeps_one_run_of_each_key(new_server):
    server = new_server().start()
    with server.api() as api:
        project_id = api.project_id()
        limit = {"max_running_per_key": 1}
        api.http.put(f"/projects/{project_id}/limits/task:e2e", json=limit).raise_for_status()
    acknowledged, fresh = [], []

    def create(writer):
        body = {"kind": "task", "owner": {"kind": "project", "id": project_id}}
        body["request"] = {"target": "task:e2e"}
        try:
            with server.api() as api:
                worker = api.register(f"worker-{writer}")
                for number in range(100_000):
                    key = f"key-{(writer + number) % 3}"
                    flow = {"unique": {"key": key}, "concurrency_key": f"customer-{number % 2}"}
                    made = api.post("/runs", body | flow)
                    api.claim(worker)
                    acknowledged.append(made["run"]["run_id"])
                    if not made.get("duplicate"):
                        fresh.append(made["run"]["run_id"])
                    if number % 2:
                        api.complete(made["run"]["run_id"])
        except httpx2.TransportError:
            pass  # the server was killed

    for _ in range(2):
        enough = len(fresh) + 8
        threads = [threading.Thread(target=create, args=(writer,), daemon=True) for writer in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(fresh) >= enough, "runs created with keys")  # noqa: B023
        server.kill()
        for thread in threads:
            thread.join(timeout=30)
        server.start()
        with sqlite3.connect(server.database) as stored:
            assert all(count == 1 for _, count in stored.execute(ACTIVE))
            assert all(count == 1 for _, count in stored.execute(RUNNING))
            ids = {run_id for (run_id,) in stored.execute("SELECT run_id FROM runs")}
        stored.close()
        assert ids.issuperset(acknowledged)
    assert len(set(fresh)) == len(fresh) < len(acknowledged)
    assert intact(server.database)
