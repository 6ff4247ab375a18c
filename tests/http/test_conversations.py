"""Conversations, and how they show agent runs."""

import uuid

import pytest

MEMBERS = """id type status message_count created_by created_at updated_at project_id title summary current_node
last_message_at metadata agent_id runtime_target_kind runtime_target_environment_id runtime_target_branch_id
archived_at"""
PROJECTION = """run_id conversation_id message_id project_id requested_by_user_id agent_id status implementation_kind
worker_key source_target_kind source_target_environment_id source_target_branch_id source_target_release_version
runtime_target_kind runtime_target_environment_id runtime_target_branch_id parent_conversation_id parent_run_id
spawned_from_message_id spawned_from_tool_call_id input_anchor_message_id handoff_message_id resolved_deployment_id
latest_event_id latest_external_event_sequence waiting_tool_call_id waiting_tool_name terminal_error_code
terminal_error_message created_at started_at finished_at metadata"""


async def test_a_conversation_is_created_with_all_its_members(api):
    body = {"project_id": "inventory", "type": "support", "title": "T" * 500, "metadata": {"a": [1]}}
    response = await api.send("POST", "/conversations", body)
    assert response.status_code == 201
    made = response.json()
    assert set(made) == set(MEMBERS.split())
    uuid.UUID(made["id"])
    assert (made["project_id"], made["type"], made["status"]) == (api.project.id, "support", "active")
    assert (made["title"], made["metadata"], made["message_count"]) == ("T" * 500, {"a": [1]}, 0)
    assert response.headers["location"] == f"/conversations/{made['id']}"
    assert await api.get(response.headers["location"]) == made


async def test_a_conversation_needs_nothing_at_all(api):
    made = await api.post("/conversations", status=201)
    assert (made["type"], made["title"], made["project_id"]) == ("chat", None, api.project.id)


@pytest.mark.parametrize("kind", ["chat", "agent_task", "support", "channel", "project_agent"])
async def test_a_conversation_has_one_of_five_types(desk, kind):
    assert (await desk.post("/conversations", {"type": kind}, 201))["type"] == kind


async def test_a_user_names_a_project_or_speaks_in_the_personal_scope(api):
    ada = await api.member("ada")
    named = await api.post("/conversations", {"project_id": api.project.id}, 201, by=ada)
    assert named["project_id"] == api.project.id
    own = await api.post("/conversations", {}, 201, by=ada)
    assert own["project_id"] is None
    assert await api.get(f"/conversations/{own['id']}", by=ada) == own
    await api.refused(404, "NOT_FOUND", "GET", f"/conversations/{own['id']}")
    await api.refused(404, "NOT_FOUND", "GET", f"/conversations/{own['id']}", by=api.token("eve"))


async def test_a_project_that_is_not_the_callers_is_not_found(api):
    for ref in ("elsewhere", api.other.id, "nowhere"):
        told = await api.refused(404, "NOT_FOUND", "POST", "/conversations", {"project_id": ref})
        assert told["detail"] == "Project not found"


async def test_who_may_only_read_creates_none(api):
    await api.refused(403, "FORBIDDEN", "POST", "/conversations", {}, by="read")
    viewer = await api.member("ada", role="viewer")
    await api.refused(403, "FORBIDDEN", "POST", "/conversations", {"project_id": api.project.id}, by=viewer)


BAD = [
    {"type": "talk"},
    {"title": "T" * 501},
    {"title": 5},
    {"title": "a\0b"},
    {"metadata": []},
    {"project_id": ""},
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
async def test_a_conversation_that_is_none_is_refused(desk, body):
    await desk.refused(400, "INVALID_REQUEST", "POST", "/conversations", body)


async def test_the_projection_has_all_its_members(api):
    run, path = await api.agent_run()
    shown = await api.get(path)
    assert set(shown) == set(PROJECTION.split())
    assert (shown["run_id"], shown["conversation_id"]) == (run["run_id"], path.split("/")[2])
    assert (shown["project_id"], shown["status"], shown["agent_id"]) == (api.project.id, "pending", "scribe")
    assert (shown["latest_event_id"], shown["latest_external_event_sequence"]) == (0, 0)
    uuid.UUID(shown["message_id"])


async def test_the_projection_tells_which_user_asked(api):
    ada = await api.member("ada")
    conversation = await api.post("/conversations", {"project_id": api.project.id}, 201, by=ada)
    run = await api.create(api.agent(conversation["id"]), by=ada)
    shown = await api.get(f"/conversations/{conversation['id']}/runs/{run['run_id']}")
    assert shown["requested_by_user_id"] == "ada"


async def test_a_wait_is_shown_as_waiting_for_tool(api):
    run, path = await api.agent_run()
    wait = {"reason": "tool", "tool_call_id": "t1", "tool_name": "search"}
    assert (await api.post(f"/runs/{run['run_id']}/wait", wait))["run"]["status"] == "waiting"
    shown = await api.get(path)
    waits = ("status", "waiting_tool_call_id", "waiting_tool_name")
    assert [shown[name] for name in waits] == ["waiting_for_tool", "t1", "search"]
    await api.post(f"/runs/{run['run_id']}/resume", {"type": "tool_result", "tool_call_id": "t1"})
    shown = await api.get(path)
    assert [shown[name] for name in waits] == ["running", None, None]


async def test_the_projection_says_how_the_run_ended(api):
    run, path = await api.agent_run()
    end = {"terminal_error_code": "E1", "terminal_error_message": "It broke", "metadata": {"model": "large"}}
    await api.complete(run["run_id"], "failed", **end)
    shown = await api.get(path)
    assert {name: shown[name] for name in end} == end
    assert (shown["status"], shown["finished_at"]) == ("failed", "2026-03-20T12:00:00.000Z")
    assert "completed_at" not in shown


async def test_children_in_a_conversation_are_projections_of_agent_runs(api):
    run, path = await api.agent_run()
    conversation_id = path.split("/")[2]
    child = await api.create(api.agent(conversation_id, public_id="child", parent_run_id=run["run_id"]))
    await api.create(api.task(public_id="work", parent_run_id=run["run_id"]))
    answer = await api.get(f"{path}/children")
    assert answer["data"] == [await api.get(f"/conversations/{conversation_id}/runs/child")]
    assert answer["page_info"] == {"self": None, "first": None, "next": None, "prev": None}
    assert child["parent_run_id"] == answer["data"][0]["parent_run_id"] == run["run_id"]
    both = await api.get(f"/runs/{run['run_id']}/children")
    assert [one["run_id"] for one in both["data"]] == ["child", "work"]
