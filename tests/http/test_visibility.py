"""What callers of other projects, and tokens of one run, learn in lists and do. For every route: `test_tenant_matrix.py`."""

import pytest

from .tenants import Tenant, bodies


async def test_the_callers_own_lists_show_nothing_of_others(api):
    await Tenant(api, api.project, "admin").furnish()
    for by in ("other", api.token("eve")):
        assert (await api.get("/runs", by=by))["data"] == []
        assert "inventory" not in str(await api.get("/projects", by=by))


async def test_a_worker_of_another_project_gets_no_run(api):
    await api.create()
    body = {"implementation_kind": "claude", "worker_key": "theirs"}
    made = await api.post("/agent-workers/projects/elsewhere/workers", body, 201, by="other")
    claim = f"/agent-workers/workers/{made['worker']['id']}/claim"
    answer = await api.post(claim, {"kinds": ["task"]}, by=made["token"])
    assert answer == {"run": None, "runs": []}


async def test_an_idempotency_key_reveals_nothing_to_other_callers(api):
    headers = {"Idempotency-Key": "k"}
    run = await api.create(headers=headers)
    response = await api.send("POST", "/runs", api.task(), headers=headers, by="other")
    api.problem(response, 404, "NOT_FOUND")
    assert run["run_id"] not in response.text


@pytest.mark.parametrize("act", ["", "/events", "/children", "/tree", "/attempts"])
async def test_a_token_of_one_run_reads_that_run_only(api, act):
    await api.member("ada", role="admin")
    mine, theirs = await api.create(), await api.create()
    bound = api.token("ada", runId=mine["run_id"])
    assert await api.get(f"/runs/{mine['run_id']}{act}", by=bound)
    await api.refused(404, "NOT_FOUND", "GET", f"/runs/{theirs['run_id']}{act}", by=bound)


async def test_a_token_of_one_run_can_only_execute_it(api):
    names = (await Tenant(api, api.project, "admin").furnish()).names
    await api.member("ada", role="admin")
    run = await api.create()
    bound = api.token("ada", runId=run["run_id"])
    project = f"/projects/{api.project.id}"
    schedule = bodies(names)["POST /projects/{project}/schedules"]
    writes = [
        ("POST", "/runs", api.task()),
        ("POST", "/conversations", {"project_id": api.project.id}),
        ("POST", "/projects", {"slug": "third"}),
        ("POST", f"{project}/api-keys", {"scopes": ["admin"]}),
        ("DELETE", f"{project}/api-keys/{names['key_id']}", ...),
        ("POST", f"{project}/members", {"user_id": "eve"}),
        ("DELETE", f"{project}/members/ada", ...),
        ("POST", f"/agent-workers{project}/workers", {"implementation_kind": "a", "worker_key": "b"}),
        ("GET", "/runs", ...),
        ("GET", f"{project}/runs", ...),
        ("GET", f"{project}/notifications", ...),
        ("GET", f"{project}/schedules", ...),
        ("GET", f"{project}/schedules/{names['schedule_id']}", ...),
        ("POST", f"{project}/schedules", schedule),
        ("POST", f"{project}/schedules/{names['schedule_id']}/runs", {"idempotency_key": "k"}),
    ]
    for method, path, body in writes:
        await api.refused(403, "FORBIDDEN", method, path, body, by=bound)
    other = f"/runs/{names['run_id']}"
    await api.refused(404, "NOT_FOUND", "POST", f"{other}/cancel", by=bound)
    body = {"events": [{"type": "A"}]}
    in_conversation = f"/conversations/{names['conversation_id']}{other}/events"
    await api.refused(404, "NOT_FOUND", "POST", in_conversation, body, by=bound)
    await api.post(f"/runs/{run['run_id']}/events", body, by=bound)
    await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed"}, by=bound)


async def test_scopes_of_a_token_restrict_the_user(api):
    run = await api.create()
    await api.member("ada")
    reader = api.token("ada", scopes=["runs:read"])
    await api.run(run["run_id"], by=reader)
    await api.refused(403, "FORBIDDEN", "POST", f"/runs/{run['run_id']}/cancel", by=reader)
