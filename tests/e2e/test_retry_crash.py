"""A server that is killed while it stores retries from a step: each is there with its whole log, or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2

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
