"""`/pause`, PATCH, DELETE and `/usage` of a run."""

import pytest

pytestmark = pytest.mark.postgres


async def patch(api, run_id, body, **headers):
    return await api.send("PATCH", f"/runs/{run_id}", body, headers=headers)


ANY = {"If-Match": "*"}


async def test_a_paused_run_waits_and_is_not_claimed(api):
    run = await api.create()
    run_id = run["run_id"]
    paused = (await api.post(f"/runs/{run_id}/pause"))["run"]
    assert (paused["status"], paused["waiting_reason"], paused["paused"]) == ("waiting", "event", True)
    worker, _ = await api.worker()
    assert (await api.claim(worker))["run"] is None
    await api.create()  # younger
    assert await api.post(f"/runs/{run_id}/resume", {"type": "unpause"}) == {"accepted": True}
    taken = (await api.claim(worker))["run"]
    assert (taken["run_id"], taken["attempt"]) == (run_id, 1)
    assert (await api.run(run_id))["paused"] is False


async def test_a_pause_ends_the_lease_without_costing_an_attempt(api):
    taken, worker = await api.claimed(backoff_limit=0)
    run_id = taken["run_id"]
    await api.post(f"/runs/{run_id}/pause")
    lease = f"{worker}/runs/{run_id}/lease"
    assert (await api.post(lease, {"lease_duration_seconds": 60}))["run"] is None
    run = f"/runs/{run_id}"
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", f"{run}/heartbeats", {"attempt": 1})
    events = {"events": [{"type": "A"}]}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", f"{run}/events", {**events, "attempt": 1})
    await api.refused(400, "EVENT_RUN_WAITING", "POST", f"{run}/events", events)
    done = {"status": "completed", "attempt": 1}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", f"{run}/complete", done)
    await api.pass_time(3_600)
    await api.post(f"{run}/resume", {"type": "unpause"})
    again = (await api.claim(worker))["run"]
    assert (again["run_id"], again["attempt"]) == (run_id, 2)
    attempts = (await api.get(f"{run}/attempts"))["data"]
    assert [(one["attempt"], one["outcome"]) for one in attempts] == [(1, "paused"), (2, "running")]


async def test_a_pause_and_a_wait_are_different(api):
    run_id = (await api.create())["run_id"]
    run = f"/runs/{run_id}"
    await api.refused(409, "TOOL_RESULT_NOT_WAITING", "POST", f"{run}/resume", {"type": "unpause"})
    await api.post(f"{run}/wait", {"reason": "event"})
    problem = await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {"type": "unpause"})
    assert problem["detail"] == "The run waits for reason event; unpause does not answer that"
    await api.refused(409, "RUN_ALREADY_WAITING", "POST", f"{run}/pause")
    await api.post(f"{run}/resume", {"type": "event"})
    for _ in range(2):
        await api.post(f"{run}/pause")
    problem = await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {"type": "event"})
    assert problem["detail"] == "The run is paused; event does not answer that"
    await api.complete(run_id)
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", f"{run}/pause")
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", f"{run}/resume", {"type": "unpause"})


async def test_an_agent_run_shows_a_pause_as_a_wait(api):
    run, path = await api.agent_run(request={"initial_status": "running"})
    await api.post(f"/runs/{run['run_id']}/pause")
    assert (await api.get(path))["status"] == "waiting_for_tool"


async def test_a_pause_with_an_idempotency_key_is_replayed(api):
    run_id = (await api.create())["run_id"]
    headers = {"Idempotency-Key": "k"}
    first = await api.post(f"/runs/{run_id}/pause", headers=headers)
    await api.post(f"/runs/{run_id}/resume", {"type": "unpause"})
    assert await api.post(f"/runs/{run_id}/pause", headers=headers) == first
    assert not (await api.run(run_id))["paused"]


async def test_title_and_labels_are_changed(api):
    run = await api.create(api.task(title="Old", labels={"a": "1"}))
    response = await patch(api, run["run_id"], {"title": "New", "labels": {"b": "2"}}, **ANY)
    assert response.status_code == 200
    changed = response.json()
    assert (changed["title"], changed["labels"]) == ("New", {"b": "2"})
    assert changed == await api.run(run["run_id"])
    assert [one["run_id"] for one in (await api.get("/runs?label=b:2"))["data"]] == [run["run_id"]]
    assert (await api.get("/runs?label=a:1"))["data"] == []
    kept = (await patch(api, run["run_id"], {"labels": None}, **ANY)).json()
    assert (kept["title"], kept["labels"]) == ("New", {})
    await api.complete(run["run_id"])
    ended = (await patch(api, run["run_id"], {"title": None}, **ANY)).json()
    assert (ended["title"], ended["status"]) == (None, "completed")


@pytest.mark.parametrize(
    "body",
    [
        {"title": 1},
        {"title": "x" * 256},
        {"labels": []},
        {"labels": {"k": 1}},
        {"labels": {"": "v"}},
        {"labels": {"k" * 64: "v"}},
        {"labels": {"k": "v" * 256}},
        {"labels": {str(n): "v" for n in range(33)}},
    ],
)
async def test_titles_and_labels_out_of_bounds_are_refused(driver, body):
    run = await driver.create()
    response = await patch(driver, run["run_id"], body, **ANY)
    driver.problem(response, 400, "INVALID_REQUEST")


async def test_a_change_needs_the_etag_that_was_read(api):
    run_id = (await api.create())["run_id"]
    response = await api.send("GET", f"/runs/{run_id}")
    read = response.headers["etag"].replace("-gzip", "")
    assert read.startswith('"')
    assert response.json()["etag"] == read
    api.problem(await patch(api, run_id, {"title": "A"}), 428, "PRECONDITION_REQUIRED")
    changed = await patch(api, run_id, {"title": "A"}, **{"If-Match": read})
    assert changed.status_code == 200
    assert changed.headers["etag"] == changed.json()["etag"] != read
    stale = await patch(api, run_id, {"title": "B"}, **{"If-Match": read})
    api.problem(stale, 412, "PRECONDITION_FAILED")
    either = f'"other", {changed.headers["etag"]}'
    assert (await patch(api, run_id, {"title": "B"}, **{"If-Match": either})).status_code == 200
    weak = f"W/{(await api.send('GET', f'/runs/{run_id}')).headers['etag']}"
    api.problem(await patch(api, run_id, {}, **{"If-Match": weak}), 412, "PRECONDITION_FAILED")
    for malformed in ("abc", '"a', '"a" "b"', ","):
        response = await patch(api, run_id, {}, **{"If-Match": malformed})
        api.problem(response, 400, "INVALID_REQUEST")
    assert (await api.run(run_id))["title"] == "B"


async def test_one_of_two_changes_with_the_same_etag_is_refused(api):
    run = await api.create()
    answers = [await patch(api, run["run_id"], {"title": t}, **{"If-Match": run["etag"]}) for t in "AB"]
    assert [answer.status_code for answer in answers] == [200, 412]


async def test_a_new_child_changes_the_etag_but_conflicts_with_no_change(api):
    run = await api.create()
    await api.create(api.task(parent_run_id=run["run_id"]))
    now = await api.run(run["run_id"])
    assert now["etag"] != run["etag"]
    assert (await patch(api, run["run_id"], {"title": "A"}, **{"If-Match": run["etag"]})).status_code == 200


async def test_an_unchanged_run_is_answered_with_304(api):
    run = await api.create()
    path = f"/runs/{run['run_id']}"
    for known in (run["etag"], f'"x", W/{run["etag"]}', "*"):
        response = await api.send("GET", path, headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == run["etag"]
    await api.append(run["run_id"], {"type": "A"})
    response = await api.send("GET", path, headers={"If-None-Match": run["etag"]})
    assert response.status_code == 200
    assert response.json()["latest_event_id"] == 1


async def test_an_ended_run_is_deleted_with_all_that_belongs_to_it(api):
    run, path = await api.agent_run()
    run_id = run["run_id"]
    await api.append(run_id, {"type": "A"})
    await api.refused(409, "RUN_NOT_TERMINAL", "DELETE", f"/runs/{run_id}", by="admin")
    await api.complete(run_id)
    response = await api.send("DELETE", f"/runs/{run_id}", by="admin")
    assert (response.status_code, response.json()) == (200, {"deleted": True, "run_id": run_id})
    for gone in (
        f"/runs/{run_id}",
        f"/runs/{run_id}/events",
        f"/runs/{run_id}/stream",
        path,
        f"{path}/snapshot",
    ):
        await api.refused(404, "NOT_FOUND", "GET", gone)
    await api.refused(404, "NOT_FOUND", "DELETE", f"/runs/{run_id}", by="admin")
    assert (await api.get("/runs"))["data"] == []
    conversation_id = path.split("/")[2]
    again = await api.create(api.agent(conversation_id, public_id=run_id))
    assert (again["run_id"], again["latest_event_id"]) == (run_id, 0)


async def test_a_deleted_agent_run_leaves_its_conversation_without_its_message_and_forms(api):
    run, path = await api.agent_run(request={"initial_status": "running"})
    place = path.partition("/runs/")[0]
    form = {
        "run_id": run["run_id"],
        "tool_call_id": "t1",
        "kind": "form",
        "requested_responder_type": "human",
    }
    form |= {"title": "Name?", "fields": [{"name": "n", "label": "N", "type": "text"}]}
    asked = await api.post(f"{place}/input-requests", form, 201)
    first = await api.post(
        f"{place}/messages", {"role": "user", "parts": [{"type": "text", "text": "Hi"}]}, 201
    )
    filled = (await api.get(f"{place}/messages"))["data"][0]
    answer = {"role": "user", "parts": [{"type": "text", "text": "Ho"}], "parent_id": filled["id"]}
    await api.post(f"{place}/messages", answer, 201)
    other = await api.create(api.agent(place.rpartition("/")[2], request={"initial_status": "running"}))
    for ended in (run, other):
        await api.complete(ended["run_id"])
        await api.send("DELETE", f"/runs/{ended['run_id']}", by="admin")
    left = await api.get(f"{place}/messages")
    assert [(one["seq"], one["parent_id"]) for one in left["data"]] == [(first["seq"], None), (3, None)]
    assert left["page_info"]["next"] is None
    assert (await api.get(place))["current_node"] == left["data"][-1]["id"]
    await api.refused(404, "NOT_FOUND", "GET", f"{place}/input-requests/{asked['id']}")


async def test_a_run_is_deleted_after_its_children(api):
    parent = await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    for run in (parent, child):
        await api.complete(run["run_id"])
    problem = await api.refused(409, "RUN_HAS_CHILDREN", "DELETE", f"/runs/{parent['run_id']}", by="admin")
    assert problem["detail"] == "The run has descendants: delete those first"
    for run in (child, parent):
        assert (await api.send("DELETE", f"/runs/{run['run_id']}", by="admin")).status_code == 200
    assert (await api.get("/runs"))["data"] == []


async def test_only_admins_delete(api):
    run = await api.create()
    await api.complete(run["run_id"])
    for by in ("default", "write", "read"):
        await api.refused(403, "FORBIDDEN", "DELETE", f"/runs/{run['run_id']}", by=by)
    assert await api.run(run["run_id"])


async def test_usage_is_summed_up_by_model(api):
    root = await api.create()
    child = await api.create(api.task(parent_run_id=root["run_id"]))
    grandchild = await api.create(api.task(parent_run_id=child["run_id"]))
    found = {"provider": "anthropic", "model": "m", "inputTokens": 10, "outputTokens": 2}
    await api.complete(
        child["run_id"], metadata={**found, "cachedInputTokens": 4, "usageCaptureStatus": "complete"}
    )
    await api.complete(grandchild["run_id"], metadata={"model": "n", "usageCaptureStatus": "missing"})
    usage = await api.get(f"/runs/{child['run_id']}/usage")
    assert (usage["run_id"], usage["root_run_id"]) == (child["run_id"], root["run_id"])
    assert (usage["run"]["runs"], usage["subtree"]["runs"], usage["family"]["runs"]) == (1, 2, 3)
    assert usage["run"] == {
        "runs": 1,
        "ended_runs": 1,
        "reported_runs": 1,
        "usage_capture_status": "complete",
        "captures": {"complete": 1, "partial": 0, "missing": 0},
        "input_tokens": 10,
        "output_tokens": 2,
        "cached_input_tokens": 4,
        "reasoning_tokens": 0,
        "total_tokens": 12,
        "by_model": [
            {
                "provider": "anthropic",
                "model": "m",
                "runs": 1,
                "input_tokens": 10,
                "output_tokens": 2,
                "cached_input_tokens": 4,
                "reasoning_tokens": 0,
                "total_tokens": 12,
            }
        ],
    }
    family = usage["family"]
    assert (family["usage_capture_status"], family["ended_runs"], family["reported_runs"]) == (
        "partial",
        2,
        2,
    )
    assert [(one["provider"], one["model"]) for one in family["by_model"]] == [
        ("anthropic", "m"),
        (None, "n"),
    ]
    alone = (await api.get(f"/runs/{root['run_id']}/usage"))["run"]
    assert (alone["usage_capture_status"], alone["by_model"], alone["total_tokens"]) == (None, [], 0)


async def test_a_change_with_an_idempotency_key_is_applied_once(api):
    run = await api.create()
    headers = {"If-Match": run["etag"], "Idempotency-Key": "k"}
    first = await patch(api, run["run_id"], {"title": "A"}, **headers)
    again = await patch(api, run["run_id"], {"title": "A"}, **headers)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = await patch(api, run["run_id"], {"title": "B"}, **headers)
    api.problem(other, 409, "IDEMPOTENCY_KEY_REUSED")
