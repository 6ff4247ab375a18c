"""SIGKILL of the server between a registration and a cancel, during cancels, and before the compensations run."""

import threading

import httpx2

from tests.support.until import until

from .integrity import check_whole, intact

RUNS = 40
UNDOS = ("undo-1", "undo-2")


def registered(api, run_id):
    for target in UNDOS:
        body = {"target": f"task:{target}", "idempotency_key": target}
        yield api.post(f"/runs/{run_id}/compensations", body)["duplicate"]


def test_none_is_lost_and_none_runs_twice(server):
    with server.api() as api:
        project_id, worker = api.project_id(), api.register("undoing")
        runs = [api.create(project_id, public_id=f"run-{number}")["run_id"] for number in range(RUNS)]
        assert not any(duplicate for run_id in runs for duplicate in registered(api, run_id))
    server.kill()
    server.start()
    acknowledged = cancel_until_killed(server, runs)
    with server.api() as api:
        cancelled = {run_id for run_id in runs if checked(api, run_id) == "cancelled"}
        assert set(acknowledged) <= cancelled
        for run_id in runs:
            if run_id not in cancelled:
                assert all(registered(api, run_id))  # nothing was lost before the cancel
                api.post(f"/runs/{run_id}/cancel")
                assert checked(api, run_id) == "cancelled"
    server.kill()
    server.start()
    with server.api() as api:
        # Every first one is in the queue, and no second one.
        claimed = run_all(api, worker, "task:undo-2")
        claimed |= run_all(api, worker, "task:undo-1", most=1)
    server.kill()
    server.start()
    with server.api() as api:
        claimed |= run_all(api, worker, "task:undo-1")
        assert len(claimed) == 2 * RUNS
        for run_id in runs:
            children = api.get(f"/runs/{run_id}/children")["data"]
            assert [(one["target"], one["status"], one["attempt"]) for one in children] == [
                ("task:undo-2", "completed", 1),
                ("task:undo-1", "completed", 1),
            ]
    server.kill()
    check_whole(server.database)
    assert intact(server.database)


def cancel_until_killed(server, runs):
    """Cancel the runs one after the other and kill the server meanwhile. Return those whose cancel was answered."""
    acknowledged = []

    def cancel():
        with server.api(timeout_s=5) as api:
            for run_id in runs:
                try:
                    assert api.post(f"/runs/{run_id}/cancel")["cancelled"]
                except httpx2.HTTPError:
                    return
                acknowledged.append(run_id)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    until(lambda: len(acknowledged) >= RUNS // 3, "cancels")
    server.kill()
    cancelling.join()
    server.start()
    return acknowledged


def checked(api, run_id):
    """The run has its compensations registered, or all created, in order. Return its status."""
    run, children = api.run(run_id), api.get(f"/runs/{run_id}/children")["data"]
    found = [(one["target"], one["available_at"] is not None) for one in children]
    if run["status"] == "cancelled":
        assert (run["compensations"], found) == (0, [("task:undo-2", True), ("task:undo-1", False)])
    else:
        assert (run["status"], run["compensations"], found) == ("pending", 2, [])
    return run["status"]


def run_all(api, worker, target, most=RUNS):
    """Claim and complete the runs of a target. Return run → attempt."""
    found = {}
    while len(found) < most and (run := api.claim(worker, target)) is not None:
        api.complete(run["run_id"], attempt=run["attempt"])
        found[run["run_id"]] = run["attempt"]
    return found
