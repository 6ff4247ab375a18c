"""Objects of other projects are not found, for every read and write."""

import pytest

from runstead.http.framework.app import operations

#: Operations without an object of a project in their path.
OWN = {"/runs", "/runs/event-types", "/projects", "/conversations", "/agent-runtimes/push-services"}
BODIES = {
    "/runs/{run_id}/events": {"events": [{"type": "A"}]},
    "/conversations/{conversation_id}/runs/{run_id}/events": {"events": [{"type": "A"}]},
    "/conversations/{conversation_id}/messages": {"role": "user", "parts": [{"type": "text", "text": "x"}]},
    "/conversations/{conversation_id}/input-requests": {
        "run_id": "run-1",
        "tool_call_id": "t",
        "kind": "form",
        "requested_responder_type": "human",
        "title": "T",
        "fields": [{"name": "n", "label": "N", "type": "text"}],
    },
    "/conversations/{conversation_id}/input-requests/{input_request_id}/responses": {"values": {"n": "x"}},
    "/runs/{run_id}/complete": {"status": "completed"},
    "/runs/{run_id}/wait": {"reason": "tool"},
    "/runs/{run_id}/resume": {"type": "event"},
    "/runs/{run_id}/heartbeats": {"attempt": 1},
    "/agent-workers/projects/{project}/workers": {"implementation_kind": "a", "worker_key": "b"},
    "/agent-workers/workers/{worker_id}/runs/{run_id}/session": {"session_key": "s"},
    "/projects/{project}/members": {"user_id": "eve"},
    "/projects/{project}/schedules": {
        "name": "nightly",
        "target": {"kind": "task", "id": "count"},
        "schedule": "0 3 * * *",
    },
    "/projects/{project}/schedules/{schedule_id}/runs": {"idempotency_key": "k"},
    "/projects/{project}/source-schedules": {"schedules": []},
    "/projects/{project}/batches": {"runs": [{"kind": "task", "request": {"target": "task:count"}}]},
    "/projects/{project}/concurrency-limits": {"limits": []},
    "/projects/{project}/prices": {"provider": "acme", "model": "m", "input": 1, "output": 2},
    "/projects/{project}/webhooks": {"url": "https://a.example/in", "events": ["*"]},
    "/projects/{project}/triggers": {"name": "push", "target": "task:count"},
}
#: Queries that an operation needs, or that keep its answer constant over time.
QUERIES = {
    "DELETE /projects/{project}/prices": "?provider=acme&model=m",
    "GET /projects/{project}/usage": "?since=2026-01-01T00:00:00Z&until=2027-01-01T00:00:00Z",
}
FOREIGN = [operation for operation in operations() if not operation.open and operation.path not in OWN]


def request_line(operation):
    """Return path and query."""
    return operation.path + QUERIES.get(f"{operation.method} {operation.path}", "")


async def objects_of_project(api):
    """Create an object of every kind in the project."""
    run, path = await api.agent_run(request={"implementation_kind": "claude"})
    worker, token = await api.worker("claude")
    await api.post(f"{worker}/claim", {})
    await api.member("ada", role="admin")
    keys = (await api.get("/projects/inventory/api-keys", by="admin"))["data"]
    conversation, _, run_path = path.rpartition("/runs/")
    asked = BODIES["/conversations/{conversation_id}/input-requests"]
    request = await api.post(f"{conversation}/input-requests", {**asked, "run_id": run_path}, 201)
    names = {"project": api.project.id, "run_id": run["run_id"], "conversation_id": path.split("/")[2]}
    names["input_request_id"] = request["id"]
    body = BODIES["/projects/{project}/schedules"]
    made = await api.post(f"/projects/{api.project.id}/schedules", body, 201)
    names["schedule_id"] = made["schedule"]["id"]
    names |= {"event_id": "1", "name": "report.csv"}
    here = f"/projects/{api.project.id}"
    batch = await api.post(f"{here}/batches", BODIES["/projects/{project}/batches"], 202)
    names["batch_id"] = batch["batch"]["id"]
    hooks = f"{here}/webhooks"
    made = await api.post(hooks, BODIES["/projects/{project}/webhooks"], 201, by="admin")
    names["webhook_id"] = made["webhook"]["id"]
    sent = await api.post(f"{hooks}/{names['webhook_id']}/test", status=202, by="admin")
    names["delivery_id"] = sent["delivery"]["id"]
    made = await api.post(f"{here}/triggers", BODIES["/projects/{project}/triggers"], 201, by="admin")
    await api.send("PUT", f"{here}/prices", BODIES["/projects/{project}/prices"], by="admin")
    names["trigger_id"] = made["trigger"]["id"]
    child = await api.create(api.task(parent_run_id=run["run_id"]))
    service = {"service_name": "s", "service_key": "s", "scope_kind": "project", "project_id": api.project.id}
    service |= {"base_url": "https://a.example", "invoke_url": "https://a.example/runs"}
    made = (await api.post("/agent-runtimes/push-services", service, 201))["service"]
    names |= {"child_run_id": child["run_id"], "service_id": made["id"]}
    return {**names, "worker_id": worker.split("/")[-1], "key_id": keys[0]["id"], "user_id": "ada"}, token


async def contents(api, names):
    """Read everything of the project."""
    reads = (request_line(operation) for operation in FOREIGN if operation.method == "GET")
    paths = sorted(path.format(**names) for path in reads if not path.endswith(("/stream", "/notifications")))
    return [(await api.send("GET", path, by="admin")).json() for path in [*paths, "/runs", "/projects"]]


async def test_every_operation_is_not_found_for_callers_of_other_projects(api):
    names, _ = await objects_of_project(api)
    before = await contents(api, names)
    callers = ["other", api.token("eve"), api.token("eve", projectId=api.other.id)]
    for operation in FOREIGN:
        path = request_line(operation).format(**names)
        unknown_path = request_line(operation).format(**dict.fromkeys(names, "unknown"))
        body = BODIES.get(operation.path, {}) if operation.method != "GET" else ...
        for by in callers:
            problem = await api.refused(404, "NOT_FOUND", operation.method, path, body, by=by)
            unknown = await api.refused(404, "NOT_FOUND", operation.method, unknown_path, body, by=by)
            assert problem["detail"] == unknown["detail"], operation.path
    assert await contents(api, names) == before


async def test_a_worker_of_another_project_cannot_learn_what_exists(api):
    names, _ = await objects_of_project(api)
    before = await contents(api, names)
    body = {"implementation_kind": "claude", "worker_key": "theirs"}
    made = await api.post("/agent-workers/projects/elsewhere/workers", body, 201, by="other")
    for operation in FOREIGN:
        body = BODIES.get(operation.path, {}) if operation.method != "GET" else ...
        found = []
        for named in (names, dict.fromkeys(names, "unknown")):
            path = request_line(operation).format(**named)
            response = await api.send(operation.method, path, body, by=made["token"])
            assert response.status_code in {403, 404}
            found.append({**response.json(), "instance": ""})
        assert found[0] == found[1], operation.path
    assert await contents(api, names) == before


async def test_the_callers_own_lists_show_nothing_of_others(api):
    await objects_of_project(api)
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
    names, _ = await objects_of_project(api)
    run = await api.create()
    bound = api.token("ada", runId=run["run_id"])
    project = f"/projects/{api.project.id}"
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
        ("POST", f"{project}/schedules", BODIES["/projects/{project}/schedules"]),
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
