"""`unique` and `debounce` of requests that create runs."""

import pytest

pytestmark = pytest.mark.postgres

UNIQUE = {"key": "customer-7", "while": "active"}
DEBOUNCE = {"key": "report", "seconds": 60, "max_seconds": 90}


async def test_a_unique_key_answers_the_run_that_has_it(api):
    first = await api.post("/runs", {**api.task(), "unique": UNIQUE}, 202)
    again = await api.post("/runs", {**api.task(), "public_id": "other", "unique": UNIQUE}, 202)
    assert (first.get("duplicate"), again["duplicate"]) == (None, True)
    assert again["run"] == first["run"]
    assert first["run"]["unique_key"] == "customer-7"
    assert "unique_key" not in await api.create()
    run_id = first["run"]["run_id"]
    await api.complete(run_id)
    later = await api.post("/runs", {**api.task(), "unique": {"key": "customer-7", "while": 3600}}, 202)
    assert (later["run"]["run_id"], later["run"]["status"]) == (run_id, "completed")
    retried = (await api.post(f"/runs/{run_id}/retry", status=202))["run"]
    assert "unique_key" not in retried


async def test_a_debounce_takes_over_the_input_of_the_last_request(api):
    request = {"target": "task:report"}
    bodies = [
        {**api.task(), "request": request | {"input": number, "config": {"n": number}}, "debounce": DEBOUNCE}
        for number in range(3)
    ]
    first = (await api.post("/runs", bodies[0], 202))["run"]
    for body in bodies[1:]:
        api.clock.advance_ms(40_000)
        later = await api.post("/runs", body, 202)
        assert later["duplicate"]
    run = await api.stored(first["run_id"])
    assert run == later["run"]
    assert (run["input"], run["config"], run["debounced"], run["debounce_key"]) == (2, {"n": 2}, 2, "report")
    assert (first["debounced"], first["etag"] == run["etag"]) == (0, False)


async def test_a_batch_names_the_runs_that_exist_and_counts_the_others(api):
    path = f"/projects/{api.project.id}/batches"
    request = {"kind": "task", "request": {"target": "task:greet"}}
    first = (await api.post("/runs", {**api.task(), "request": request["request"], "unique": UNIQUE}, 202))[
        "run"
    ]
    runs = [request | {"unique": UNIQUE}, request | {"unique": {"key": "customer-8"}}]
    made = await api.post(path, {"runs": runs}, 202)
    assert made["run_ids"][0] == first["run_id"]
    assert made["duplicate_run_ids"] == [first["run_id"]]
    assert made["batch"]["total"] == 1
    again = await api.post(path, {"runs": runs}, 202)
    assert again["run_ids"] == again["duplicate_run_ids"] == made["run_ids"]
    assert (again["batch"]["total"], again["batch"]["status"]) == (0, "completed")
    problem = await api.refused(400, "INVALID_REQUEST", "POST", path, {"runs": [runs[0], runs[0]]})
    assert problem["errors"][0]["path"] == "$.runs[1].unique.key"


async def test_the_limit_of_a_target_holds_for_each_concurrency_key(api):
    place = f"/projects/{api.project.slug}/limits"

    async def put(target, **limits):
        response = await api.send("PUT", f"{place}/{target}", limits, by="admin")
        assert response.status_code == 200, response.text
        return response.json()

    limited = await put("task:greet", max_running_per_key=1)
    shown = {"target": "task:greet", "max_running": None, "running": 0, "max_running_per_key": 1}
    assert limited == {"limits": [shown]}
    await put("project", max_running=5)
    worker, _ = await api.worker()
    for name, key in (("a-1", "a"), ("a-2", "a"), ("b-1", "b")):
        body = api.task(public_id=name, concurrency_key=key, priority=7, request={"target": "task:greet"})
        run = await api.create(body)
        assert (run["concurrency_key"], run["priority"]) == (key, 7)
    claimed = (await api.claim(worker, max_runs=9))["runs"]
    assert [run["run_id"] for run in claimed] == ["a-1", "b-1"]
    await api.complete("a-1", "failed")
    retried = (await api.post("/runs/a-1/retry", status=202))["run"]
    assert (retried["concurrency_key"], retried["priority"]) == ("a", 7)
    claimed = (await api.claim(worker, max_runs=9))["runs"]
    assert [run["run_id"] for run in claimed] == ["a-2"]
    left = await put("task:greet")
    assert [one["target"] for one in left["limits"]] == [None]
    rate = {"limit": 100, "period_seconds": 60, "per_key": True, "unit": "runs"}
    assert (await put("task:greet", rate=rate))["limits"][1]["rate"] == rate
    of_tokens = rate | {"limit": 10**10, "unit": "tokens"}
    assert (await put("task:greet", rate=of_tokens))["limits"][1]["rate"] == of_tokens
    for wrong in ({"unit": "money"}, {"limit": 0}, {"limit": 10**6 + 1}, {"period_seconds": 86_401}):
        body = {"rate": rate | wrong}
        problem = await api.refused(400, "INVALID_REQUEST", "PUT", f"{place}/task:greet", body, by="admin")
        assert problem["errors"][0]["path"].startswith("$.rate.")
    of_keys = {"rate": rate}
    await api.refused(400, "INVALID_REQUEST", "PUT", f"{place}/project", of_keys, by="admin")
    nothing = {"max_running_per_key": 1}
    await api.refused(400, "INVALID_REQUEST", "PUT", f"{place}/project", nothing, by="admin")


async def test_many_calls_of_a_trigger_start_one_run_with_the_last_payload(api):
    body = {"target": "task:build", "debounce": {"key": "main", "seconds": 30}, "concurrency_key": "main"}
    place = f"/projects/{api.project.slug}/triggers"
    response = await api.send("POST", place, body, by="admin")
    made = response.json()
    assert {name: made["trigger"][name] for name in ("debounce", "concurrency_key")} == {
        "debounce": {"key": "main", "seconds": 30, "max_seconds": None},
        "concurrency_key": "main",
    }
    assert "unique" not in made["trigger"]
    calls = [await api.post(f"/triggers/{made['token']}", {"push": number}, 202) for number in range(3)]
    assert len({call["run_id"] for call in calls}) == 1
    run = await api.run(calls[0]["run_id"])
    assert (run["input"], run["debounced"], run["concurrency_key"]) == ({"push": 2}, 2, "main")


async def test_the_runs_of_a_schedule_have_its_concurrency_key(api):
    place = f"/projects/{api.project.slug}/schedules"
    body = {"name": "Nightly", "target": {"kind": "task", "id": "count"}, "schedule": "0 3 * * *"}
    made = (await api.post(place, body | {"concurrency_key": "count"}, 201))["schedule"]
    assert made["concurrency_key"] == "count"
    fired = await api.post(f"{place}/{made['id']}/runs", {"idempotency_key": "k"}, 201)
    assert (await api.run(fired["run_id"]))["concurrency_key"] == "count"
    changed = await api.send("PATCH", f"{place}/{made['id']}", {"concurrency_key": None})
    assert "concurrency_key" not in changed.json()["schedule"]


async def test_a_schedule_has_a_unique_key_or_a_debounce_until_null_removes_it(api):
    place = f"/projects/{api.project.slug}/schedules"
    body = {"name": "Nightly", "target": {"kind": "task", "id": "count"}, "schedule": "0 3 * * *"}
    made = (await api.post(place, body | {"unique": UNIQUE}, 201))["schedule"]
    assert (made["unique"], "debounce" in made) == (UNIQUE | {"while": "active"}, False)
    fired = [
        await api.post(f"{place}/{made['id']}/runs", {"idempotency_key": key}, 201) for key in ("k-1", "k-2")
    ]
    assert fired[0] == fired[1]
    assert (await api.run(fired[0]["run_id"]))["unique_key"] == UNIQUE["key"]
    named = (await api.send("PATCH", f"{place}/{made['id']}", {"name": "n"})).json()["schedule"]
    assert named["unique"] == made["unique"]
    path = f"{place}/{made['id']}"
    refused = await api.refused(400, "INVALID_REQUEST", "PATCH", path, {"debounce": DEBOUNCE})
    assert refused["errors"][0]["path"] == "$.debounce"
    other = (await api.send("PATCH", path, {"unique": None, "debounce": DEBOUNCE})).json()["schedule"]
    assert (other["debounce"]["key"], "unique" in other) == (DEBOUNCE["key"], False)
    none = (await api.send("PATCH", path, {"debounce": None})).json()["schedule"]
    assert "debounce" not in none
    assert "debounce" not in await api.get(path)


async def test_a_manual_run_while_the_keys_change_is_refused_and_a_repeat_starts_it(api, monkeypatch):
    place = f"/projects/{api.project.slug}/schedules"
    body = {"name": "Nightly", "target": {"kind": "task", "id": "count"}, "schedule": "0 3 * * *"}
    path = f"{place}/{(await api.post(place, body, 201))['schedule']['id']}"
    read = api.store.schedules.get

    async def read_then_change(project_id, schedule_id):
        found = await read(project_id, schedule_id)
        await api.send("PATCH", path, {"unique": UNIQUE})
        return found

    with monkeypatch.context() as patch:
        patch.setattr(api.store.schedules, "get", read_then_change)
        await api.refused(503, "STORE_BUSY", "POST", f"{path}/runs", {"idempotency_key": "k"})
    run_id = (await api.post(f"{path}/runs", {"idempotency_key": "k"}, 201))["run_id"]
    assert (await api.run(run_id))["unique_key"] == UNIQUE["key"]


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"unique": UNIQUE, "debounce": DEBOUNCE}, "$.debounce"),
        ({"debounce": {**DEBOUNCE, "max_seconds": 59}}, "$.debounce.max_seconds"),
        ({"unique": {"key": "k", "while": 0}}, "$.unique.while"),
        ({"unique": UNIQUE, "target": {"kind": "agent", "id": "a"}}, "$.unique"),
        ({"debounce": DEBOUNCE, "target": {"kind": "agent", "id": "a"}}, "$.debounce"),
    ],
)
async def test_invalid_flow_control_of_a_schedule_is_refused_also_in_a_sync(api, members, path):
    body = {"name": "Nightly", "target": {"kind": "task", "id": "count"}, "schedule": "0 3 * * *"} | members
    place = f"/projects/{api.project.slug}"
    refused = await api.refused(400, "INVALID_REQUEST", "POST", f"{place}/schedules", body)
    assert refused["errors"][0]["path"] == path
    source = {"schedules": [body | {"source_trigger_id": "s"}]}
    refused = await api.refused(400, "INVALID_REQUEST", "PUT", f"{place}/source-schedules", source)
    assert refused["errors"][0]["path"] == path.replace("$", "$.schedules[0]", 1)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"unique": UNIQUE, "debounce": DEBOUNCE}, "$.debounce"),
        ({"debounce": {**DEBOUNCE, "max_seconds": 59}}, "$.debounce.max_seconds"),
        ({"debounce": DEBOUNCE, "available_at": "2030-01-01T00:00:00Z"}, "$.available_at"),
        ({"unique": {"key": ""}}, "$.unique.key"),
        ({"unique": {"key": "k", "while": 0}}, "$.unique.while"),
        ({"unique": {"key": "k", "while": "ever"}}, "$.unique.while"),
        ({"debounce": {"key": "k"}}, "$.debounce"),
    ],
)
async def test_flow_control_that_makes_no_sense_is_refused(api, members, path):
    problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", {**api.task(), **members})
    assert problem["errors"][0]["path"] == path


def of_worker(api, conversation, name, **members):
    return api.agent(conversation, request={"implementation_kind": "py"}, public_id=name, **members)


async def test_an_agent_run_that_exists_takes_the_place_of_a_new_one_and_of_its_message(api):
    conversation = await api.conversation()
    for flow, name in ({"unique": UNIQUE}, "u-1"), ({"debounce": DEBOUNCE}, "d-1"):
        await api.create(of_worker(api, conversation, name, **flow))
        again = await api.post("/runs", of_worker(api, conversation, f"{name}-again", **flow), 202)
        assert (again["duplicate"], again["run"]["run_id"]) == (True, name)
    messages = await api.get(f"/conversations/{conversation}/messages")
    assert [one["run_id"] for one in messages["data"]] == ["u-1", "d-1"]
    assert (await api.run("d-1"))["debounced"] == 1


async def test_a_debounce_or_a_concurrency_key_of_a_run_that_its_caller_drives_is_refused(api):
    for flow in ({"debounce": DEBOUNCE}, {"concurrency_key": "a"}):
        body = api.agent(await api.conversation()) | flow
        await api.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
