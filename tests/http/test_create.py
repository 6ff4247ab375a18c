"""`POST /runs`: every kind of run, its members, and repeats with the same id."""

import asyncio
import uuid

import pytest

from runstead.commands.create import new_uuid

pytestmark = pytest.mark.postgres

UUID = "9b2f5d3c-7a41-4e0b-8f7a-0d3c2b1a4f5e"


async def test_a_created_run_is_accepted_and_has_a_location(api):
    response = await api.send("POST", "/runs", api.task("task:count"))
    assert response.status_code == 202
    answer = response.json()
    run = answer["run"]
    assert answer == {"accepted": True, "run": run}
    assert run["run_id"].startswith("run_")
    uuid.UUID(run["run_id"].removeprefix("run_"))
    assert response.headers["location"] == f"/runs/{run['run_id']}"
    assert await api.get(response.headers["location"]) == run
    assert (run["kind"], run["status"], run["root_run_id"]) == ("task", "pending", run["run_id"])
    assert run["owner"] == {"kind": "project", "id": api.project.id}
    assert (run["trigger_kind"], run["attempt"], run["latest_event_id"]) == ("api", 0, 0)
    assert run["started_at"] is run["completed_at"] is run["parent_run_id"] is run["error"] is None


async def test_a_task_stores_its_whole_request(api):
    request = {
        "name": "Nightly count",
        "batch_id": UUID,
        "runtime_target_kind": "environment",
        "runtime_target_environment_id": UUID,
        "runtime_target_branch_id": None,
        "config": {"deep": [{"a": 1.5}]},
        "input": ["anything", None],
        "timeout_seconds": 30,
        "backoff_limit": 0,
        "start_mode": "resume",
        "some_later_member": True,
    }
    run = await api.create(api.task("task:count", request=request, labels={"team": "a"}))
    assert run["title"] == "Nightly count"
    assert run["labels"] == {"team": "a"}
    assert run["target"] == "task:count"
    same = set(request) - {"name", "some_later_member"}
    assert {name: run[name] for name in same} == {name: request[name] for name in same}


async def test_a_title_takes_precedence_over_the_requests_name(api):
    run = await api.create(api.task(request={"name": "n"}, title="Counting ☕"))
    assert run["title"] == "Counting ☕"


@pytest.mark.parametrize(
    ("request_", "target", "workflow_id"),
    [
        ({"workflow_id": "w1", "target": "workflow:w1"}, "workflow:w1", "w1"),
        ({"workflow_id": "w1"}, "workflow:w1", "w1"),
        ({"target": "workflow:w1"}, "workflow:w1", "w1"),
    ],
)
async def test_a_workflow_is_given_by_id_or_target(driver, request_, target, workflow_id):
    run = await driver.create(
        driver.task() | {"kind": "workflow", "request": {**request_, "input": {"a": 1}}}
    )
    assert (run["kind"], run["target"], run["workflow_id"]) == ("workflow", target, workflow_id)
    assert run["input"] == {"a": 1}


async def test_an_eval_is_created_by_kind_or_as_a_task(driver):
    run = await driver.create(
        driver.task("eval:smoke", request={"input": 1, "config": {}}) | {"kind": "eval"}
    )
    assert (run["kind"], run["target"]) == ("eval", "eval:smoke")
    run = await driver.create(driver.task("task:eval", request={"config": {"eval_id": "smoke"}}))
    assert (run["kind"], run["config"]) == ("task", {"eval_id": "smoke"})


@pytest.mark.parametrize("value", [None, 0, "text", [1], {"a": {}}, 1e300, 10**30, False])
@pytest.mark.postgres
async def test_input_is_any_json_value(api, value):
    run = await api.create(api.task(request={"input": value}))
    assert (await api.run(run["run_id"]))["input"] == value


@pytest.mark.parametrize(
    ("kind", "environment", "branch", "good"),
    [
        (None, None, None, True),
        ("main_branch", None, None, True),
        ("environment", UUID, None, True),
        ("preview_branch", None, UUID, True),
        ("main_branch", UUID, None, False),
        ("main_branch", None, UUID, False),
        ("environment", None, None, False),
        ("environment", UUID, UUID, False),
        ("preview_branch", UUID, None, False),
        ("preview_branch", UUID, UUID, False),
        (None, UUID, None, False),
    ],
)
async def test_a_runtime_target_needs_its_own_id_and_no_other(driver, kind, environment, branch, good):
    request = {"runtime_target_kind": kind}
    request |= {"runtime_target_environment_id": environment, "runtime_target_branch_id": branch}
    if good:
        assert (await driver.create(driver.task(request=request)))["runtime_target_kind"] == kind
    else:
        problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", driver.task(request=request))
        assert problem["errors"][0]["path"] == "$.request.runtime_target_kind"


async def test_an_agent_run_belongs_to_a_conversation_and_has_a_message(api):
    request = {
        "mode": "default_chat",
        "implementation_kind": "claude",
        "worker_key": "driver:1",
        "source_target_kind": "release",
        "source_target_environment_id": UUID,
        "source_target_branch_id": UUID,
        "source_target_release_version": "1.2",
        "runtime_target_kind": "main_branch",
    }
    trigger = {"conversation_id": UUID, "message_id": "m1", "tool_call_id": "t1"}
    run, path = await api.agent_run(request=request, trigger=trigger)
    assert (run["target"], run["status"], run["input"]) == ("agent:scribe", "pending", None)
    assert run["owner"]["kind"] == "conversation"
    shown = await api.get(path)
    assert {name: shown[name] for name in request if name != "mode"} == {
        name: value for name, value in request.items() if name != "mode"
    }
    assert (shown["parent_conversation_id"], shown["spawned_from_message_id"]) == (UUID, "m1")
    assert (shown["spawned_from_tool_call_id"], shown["agent_id"]) == ("t1", "scribe")
    uuid.UUID(shown["message_id"])
    assert (await api.get(path.rpartition("/runs/")[0]))["message_count"] == 1


async def test_an_agent_run_may_begin_running(api):
    run, _ = await api.agent_run(request={"initial_status": "running"})
    assert (run["status"], run["started_at"]) == ("running", run["created_at"])


async def test_the_two_step_start_of_a_published_client(api):
    conversation_id = await api.conversation()
    path = f"/conversations/{conversation_id}/runs/root"
    await api.refused(404, "NOT_FOUND", "GET", path)
    first = await api.create(api.agent(conversation_id, public_id="root"))
    assert first["status"] == "pending"
    message_id = (await api.get(path))["message_id"]
    payload = {
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
        "context": {"conversation_id": conversation_id, "project_id": None, "branch_id": None},
        "durable_root_run": {"run_id": "root", "message_id": message_id},
        "forwarded_props": {"x": 1},
    }
    api.clock.advance(1)
    body = api.agent(conversation_id, public_id="root", request={"input": payload})
    answer = await api.post("/runs", body, 202)
    assert answer["duplicate"] is True
    assert (answer["run"]["status"], answer["run"]["started_at"]) == ("running", "2026-03-20T12:00:01.000Z")
    assert (await api.get(path))["message_id"] == message_id
    api.clock.advance(1)
    again = await api.post("/runs", body, 202)
    assert again == answer  # a third call has no further effect


async def test_a_start_payload_for_a_workers_run_waits_with_it(api):
    request = {"implementation_kind": "claude"}
    _run, path = await api.agent_run(public_id="r", request=request)
    conversation_id = path.split("/")[2]
    body = api.agent(conversation_id, public_id="r", request={**request, "input": {"messages": []}})
    assert (await api.post("/runs", body, 202))["run"]["status"] == "pending"
    worker, _ = await api.worker("claude")
    taken = (await api.post(f"{worker}/claim", {"lease_duration_seconds": 60}))["run"]
    assert (taken["run_id"], taken["request_snapshot"]) == ("r", {"messages": [], "tools": [], "context": []})


async def test_a_start_payload_under_two_mib_is_stored_and_a_larger_one_refused(api):
    conversation_id = await api.conversation()
    mib = 1 << 20
    body = api.agent(conversation_id, request={"input": {"messages": "x" * (2 * mib)}})
    problem = await api.refused(400, "REQUEST_SNAPSHOT_TOO_LARGE", "POST", "/runs", body)
    assert problem["detail"] == "Agent run request snapshot payload must be less than 2 MB"
    assert (await api.get("/runs"))["data"] == []
    await api.create(api.agent(conversation_id, request={"input": {"messages": "x" * (2 * mib - 20)}}))


async def test_a_repeat_with_the_same_id_returns_the_run(api):
    body = api.task("task:count", public_id="mine", request={"input": 1})
    first = await api.create(body)
    await api.complete("mine")
    ended = await api.run("mine")
    again = await api.post("/runs", {**body, "request": {"target": "task:count", "input": 2}}, 202)
    assert again == {"accepted": True, "run": ended, "duplicate": True, "input_differs": True}
    assert first["input"] == ended["input"] == 1


async def test_another_kind_owner_or_target_under_the_same_id_conflicts(api):
    await api.create(api.task("task:count", public_id="mine"))
    conversation_id = await api.conversation()
    others = [
        api.task("task:other", public_id="mine"),
        api.task("eval:count", public_id="mine") | {"kind": "eval"},
        api.agent(conversation_id, public_id="mine"),
    ]
    for body in others:
        await api.refused(409, "RUN_ID_CONFLICT", "POST", "/runs", body)
    assert len((await api.get("/runs"))["data"]) == 1
    assert (await api.get(f"/conversations/{conversation_id}"))["message_count"] == 0


async def test_an_id_of_another_project_is_free_here(api):
    await api.create(api.task(public_id="mine"))
    theirs = {**api.task("task:theirs", public_id="mine"), "owner": {"kind": "project", "id": api.other.id}}
    answer = await api.post("/runs", theirs, 202, by="other")
    assert "duplicate" not in answer
    assert (await api.run("mine", by="other"))["target"] == "task:theirs"
    assert (await api.run("mine"))["target"] == "task:count"


async def test_one_of_many_creations_with_the_same_id_is_not_a_duplicate(api):
    body = api.task(public_id="mine")
    answers = await asyncio.gather(*(api.post("/runs", body, 202) for _ in range(20)))
    assert sum("duplicate" not in answer for answer in answers) == 1


async def test_a_user_must_choose_between_two_projects_with_the_same_run_id(api):
    ada = await api.member("ada")
    await api.member("ada", api.other)
    for project in (api.project, api.other):
        owner = {"kind": "project", "id": project.id}
        await api.create({**api.task(f"task:{project.slug}", public_id="twin"), "owner": owner}, by=ada)
    unowned = {"kind": "task", "request": {"target": "task:count"}}
    problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", unowned, by=ada)
    assert problem["errors"] == [{"path": "$.owner", "message": "missing"}]
    for method, act in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("GET", "/stream")):
        await api.refused(409, "RUN_ID_AMBIGUOUS", method, f"/runs/twin{act}", by=ada)
    for ref, slug in ((api.other.id, "elsewhere"), ("inventory", "inventory")):
        assert (await api.run(f"twin?project={ref}", by=ada))["target"] == f"task:{slug}"
    assert (await api.run("twin"))["target"] == "task:inventory"  # a key never meets this
    await api.refused(404, "NOT_FOUND", "GET", "/runs/twin?project=nowhere", by=ada)


async def test_the_creator_of_a_run_is_shown_as_a_uuid(api):
    ada = await api.member("ada")
    made = await api.create(by=ada)
    uuid.UUID(made["created_by"])
    grace = "0b9c6f0e-8a3e-4a0f-9f43-0a2c54c1d001"
    assert (await api.create(by=await api.member(grace)))["created_by"] == grace


async def test_a_parent_must_be_in_the_same_project(api):
    owner = {"kind": "project", "id": api.other.id}
    await api.create({**api.task(public_id="theirs"), "owner": owner}, by="other")
    for parent in ("theirs", "unknown"):
        problem = await api.refused(404, "NOT_FOUND", "POST", "/runs", api.task(parent_run_id=parent))
        assert problem["detail"] == "Parent run not found"
    assert await api.nothing_stored()


async def test_an_owner_of_others_is_not_found(api):
    conversation_id = await api.conversation()
    for owner in (api.project.id, str(uuid.uuid4())):
        body = {**api.task(), "owner": {"kind": "project", "id": owner}}
        await api.refused(404, "NOT_FOUND", "POST", "/runs", body, by="other")
    for owner in (conversation_id, str(uuid.uuid4())):
        await api.refused(404, "NOT_FOUND", "POST", "/runs", api.agent(owner), by="other")
    assert (await api.get("/runs", by="other"))["data"] == []


async def test_a_user_may_run_tasks_in_the_personal_project(api):
    ada = api.token("ada")
    conversation = await api.post("/conversations", {}, 201, by=ada)
    assert conversation["project_id"] is None
    run = await api.create(api.agent(conversation["id"]), by=ada)
    owner = {"kind": "project", "id": run["project_id"]}
    assert await api.create({**api.task(), "owner": owner}, by=ada)
    await api.refused(404, "NOT_FOUND", "GET", f"/runs/{run['run_id']}", by=api.token("eve"))


async def test_owner_ids_ignore_letter_case(driver):
    owner = {"kind": "project", "id": driver.project.id.upper()}
    assert (await driver.create({**driver.task(), "owner": owner}))["owner"]["id"] == driver.project.id


@pytest.mark.parametrize("run_id", ["日本 語", "a?b#c", "100%", "é", "a" * 128, ".hidden", "..."])
async def test_the_location_of_a_run_id_with_any_characters_works(api, run_id):
    response = await api.send("POST", "/runs", api.task(public_id=run_id))
    assert response.status_code == 202
    assert (await api.get(response.headers["location"]))["run_id"] == run_id


def test_the_uuids_of_runs_are_random_and_well_formed():
    made = {new_uuid() for _ in range(2_000)}
    assert len(made) == 2_000
    for text in made:
        read = uuid.UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")


async def test_a_repeat_with_another_config_or_input_is_reported(api):
    async def create(**request):
        return await api.send(
            "POST", "/runs", api.task(request={"target": "task:count", **request}, public_id="a")
        )

    await create(config={"a": 1, "b": [2]}, input=[1])
    for request, differing in (
        ({"config": {"b": [2], "a": 1}, "input": [1]}, []),
        ({}, []),
        ({"config": {"a": 2}, "input": [1]}, ["config_differs"]),
        ({"config": {"a": 2}, "input": [2]}, ["config_differs", "input_differs"]),
    ):
        again = await create(**request)
        answer = again.json()
        assert (answer["duplicate"], answer["run"]["config"]) == (True, {"a": 1, "b": [2]})
        assert [name for name in answer if name.endswith("_differs")] == differing
        assert again.headers.get("runstead-warning", "") == ", ".join(differing)


async def test_a_repeat_with_another_start_payload_is_reported(api):
    conversation = await api.conversation()

    async def create(payload=None):
        request = {"agent_id": "support"} | ({} if payload is None else {"input": payload})
        body = api.agent(conversation, request=request, public_id="a")
        return (await api.send("POST", "/runs", body)).json()

    await create()
    first = await create({"messages": []})
    assert (first["duplicate"], first.get("input_differs")) == (True, None)
    assert "input_differs" not in await create({"messages": []})
    assert (await create({"messages": [1]}))["input_differs"] is True


async def test_a_project_is_the_owner_by_its_slug_or_without_a_name(api):
    for owner in ({"owner": {"kind": "project", "id": api.project.slug}}, {}):
        body = {"kind": "task", "request": {"target": "task:count"}, **owner}
        run = await api.create(body)
        assert run["owner"] == {"kind": "project", "id": api.project.id}
    unknown = {**api.task(), "owner": {"kind": "project", "id": "nowhere"}}
    await api.refused(404, "NOT_FOUND", "POST", "/runs", unknown)
    theirs = {**api.task(), "owner": {"kind": "project", "id": api.other.slug}}
    await api.refused(404, "NOT_FOUND", "POST", "/runs", theirs)
    batch = {
        "runs": [
            {
                "kind": "task",
                "owner": {"kind": "project", "id": api.project.slug},
                "request": {"target": "task:a"},
            }
        ]
    }
    await api.post(f"/projects/{api.project.slug}/batches", batch, 202)
