"""A server that is killed while it stores retries: each is there with its whole log, or not at all, and once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.support.server import SHORT_LEASE
from tests.support.until import until

STEPS = 400
RETRIES = 40


def failed_run(api):
    """A run that failed after its steps."""
    run = api.create(api.project_id())
    token = {"X-Lease-Token": api.claim(api.register("worker"), "task:e2e")["lease_token"]}
    for start in range(1, STEPS, 100):
        steps = [
            {"type": "STEP_FINISHED", "stepName": "s", "stepId": str(number), "result": number}
            for number in range(start, start + 100)
        ]
        api.post(f"/runs/{run['run_id']}/events", {"events": steps}, token)
    api.post(f"/runs/{run['run_id']}/complete", {"status": "failed"}, token)
    return run["run_id"]


def test_retries_of_a_killed_server_are_whole_and_are_not_repeated(server):
    with server.api() as api:
        run_id = failed_run(api)
    answered, some = {}, threading.Event()

    def retry(number, *, dies):
        try:
            with server.api() as api:
                key = {"Idempotency-Key": f"retry-{number}"}
                made = api.post(f"/runs/{run_id}/retry", {"from_step": "failed"}, key)["run"]
        except httpx2.HTTPError:
            assert dies
            return None
        answered.setdefault(number, made["run_id"])
        if len(answered) >= RETRIES // 4:
            some.set()
        return made["run_id"]

    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(retry, number, dies=True) for number in range(RETRIES)]
        assert some.wait(60)
        server.kill()
        for one in sent:
            one.result()
    before = dict(answered)
    assert len(before) < RETRIES, "every retry was answered before the server was killed"
    server.start()
    with server.api() as api:
        stored = {run["run_id"] for run in api.get("/runs", limit=100)["data"] if run["retry_of"] == run_id}
        assert set(before.values()) <= stored
        for number in range(RETRIES):  # those that were answered have the same run
            assert retry(number, dies=False) == before.get(number, answered[number])
        runs = [run for run in api.get("/runs", limit=100)["data"] if run["retry_of"] == run_id]
        assert len(runs) == RETRIES
        assert stored <= {run["run_id"] for run in runs}
        for run in runs:
            assert run["retry_from"]["step_id"] == str(STEPS + 1)
            [last] = api.get(f"/runs/{run['run_id']}/events", after_event_id=STEPS)["data"]
            assert (run["latest_event_id"], last["payload"]["name"]) == (STEPS + 1, "run.retry_from")


def test_a_bulk_job_of_a_killed_server_retries_each_run_once(new_server):
    server = new_server(limits=SHORT_LEASE).start()
    runs = [{"kind": "task", "request": {"target": "task:bulk"}}] * 300
    with server.api() as api:
        batch = api.post("/projects/default/batches", {"runs": runs})
        api.post(f"/projects/default/batches/{batch['batch']['id']}/cancel")
        body = {"action": "retry", "filter": {"target": ["task:bulk"], "status": ["cancelled"]}}
        place = f"/projects/default/bulk/{api.post('/projects/default/bulk', body)['job']['id']}"
        until(lambda: api.get("/runs", status="pending", limit=1)["data"], "the first retry")
        assert api.get(place)["job"]["status"] == "running"
        server.kill()
    server.start()
    with server.api() as api:
        job = until(
            lambda: (found := api.get(place)["job"])["status"] == "completed" and found, "the end of the job"
        )
        assert (job["total"], job["done"], job["failed"]) == (300, 300, 0)
        retried, cursor = [], None
        while True:
            page = api.get("/runs", status="pending", limit=100, **({"cursor": cursor} if cursor else {}))
            retried += [run["retry_of"] for run in page["data"]]
            cursor = page["page_info"]["next"]
            if cursor is None:
                break
        assert sorted(retried) == sorted(batch["run_ids"])
