"""`require_attempt` of a project: a worker must prove its attempt with every write."""

import pytest

pytestmark = pytest.mark.postgres

NOTE = {"type": "CUSTOM", "name": "note", "value": 1}


@pytest.fixture
async def fenced(api):
    """The claimed run of a project with `require_attempt`, and its worker's path."""
    changed = await patch(api, {"require_attempt": True})
    assert changed["require_attempt"] is True
    return await api.claimed()


async def patch(api, body, **options):
    response = await api.send("PATCH", f"/projects/{api.project.slug}", body, by="admin", **options)
    assert response.status_code == 200, response.text
    return response.json()


def writes(taken, worker):
    """(method, path, body) of every write of a worker, in an order in which all succeed."""
    run, held = f"/runs/{taken['run_id']}", f"{worker}/runs/{taken['run_id']}"
    return [
        ("POST", f"{run}/events", {"events": [NOTE]}),
        ("POST", f"{held}/lease", {}),
        ("PUT", f"{held}/session", {"session_key": "s"}),
        ("POST", f"{run}/wait", {"reason": "event"}),
        ("POST", f"{held}/release", {}),
        ("POST", f"{run}/complete", {"status": "completed"}),
    ]


async def test_every_write_of_a_worker_needs_a_proof(api, fenced):
    taken, worker = fenced
    before = await api.run(taken["run_id"])
    for method, path, body in writes(taken, worker):
        problem = await api.refused(409, "ATTEMPT_REQUIRED", method, path, body)
        assert "X-Lease-Token" in problem["detail"]
    assert await api.run(taken["run_id"]) == before


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_worker_that_proves_its_attempt_is_not_hindered(api, fenced, by_token):
    taken, worker = fenced
    proof = {"headers": {"X-Lease-Token": taken["lease_token"]}} if by_token else {}
    for method, path, body in writes(taken, worker)[:-1]:
        if path.endswith("/session"):  # its body has no attempt
            proof = {"headers": {"X-Lease-Token": taken["lease_token"]}}
        response = await api.send(method, path, body if by_token else {**body, "attempt": 1}, **proof)
        assert response.status_code == 200, response.text


async def test_an_old_worker_without_a_proof_cannot_complete_the_run_of_another(api, fenced):
    taken, _ = fenced
    await api.pass_time(120)
    path = f"/runs/{taken['run_id']}/complete"
    await api.refused(409, "ATTEMPT_REQUIRED", "POST", path, {"status": "completed"})


async def test_a_run_that_no_worker_claimed_is_driven_without_a_proof(api, fenced):
    run = await api.create()
    await api.append(run["run_id"], NOTE)
    assert (await api.complete(run["run_id"]))["completed"] is True


async def test_a_project_requires_no_proof_unless_it_is_set(api):
    shown = await api.get(f"/projects/{api.project.slug}")
    assert shown["require_attempt"] is False
    taken, worker = await api.claimed()
    for method, path, body in writes(taken, worker):
        response = await api.send(method, path, body)
        assert response.status_code == 200, response.text
    await patch(api, {"require_attempt": True})
    assert (await patch(api, {}))["require_attempt"] is True
    assert (await patch(api, {"require_attempt": False}))["require_attempt"] is False
    again, worker = await api.claimed()
    assert (await api.complete(again["run_id"]))["completed"] is True


async def test_only_an_admin_changes_a_project(api):
    path, body = f"/projects/{api.project.slug}", {"require_attempt": True}
    await api.refused(403, "FORBIDDEN", "PATCH", path, body)
    await api.refused(404, "NOT_FOUND", "PATCH", path, body, by="other")
    await api.refused(400, "INVALID_REQUEST", "PATCH", path, {"require_attempt": 1}, by="admin")
