"""Conversations and their view of agent runs."""

import uuid

import pytest

from runstead.commands.keys import new_project

pytestmark = pytest.mark.postgres

MEMBERS = """id type status message_count created_by created_at updated_at project_id title summary current_node
last_message_at metadata agent_id runtime_target_kind runtime_target_environment_id runtime_target_branch_id
archived_at"""
PROJECTION = """run_id conversation_id message_id project_id requested_by_user_id agent_id status implementation_kind
worker_key source_target_kind source_target_environment_id source_target_branch_id source_target_release_version
runtime_target_kind runtime_target_environment_id runtime_target_branch_id parent_conversation_id parent_run_id
spawned_from_message_id spawned_from_tool_call_id input_anchor_message_id handoff_message_id resolved_deployment_id
latest_event_id latest_external_event_sequence waiting_tool_call_id waiting_tool_name terminal_error_code
terminal_error_message created_at started_at finished_at metadata progress"""


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


async def test_a_conversation_has_no_required_members(api):
    made = await api.post("/conversations", status=201)
    assert (made["type"], made["title"], made["project_id"]) == ("chat", None, api.project.id)


@pytest.mark.parametrize("kind", ["chat", "agent_task", "support", "channel", "project_agent"])
async def test_a_conversation_has_one_of_five_types(driver, kind):
    assert (await driver.post("/conversations", {"type": kind}, 201))["type"] == kind


async def test_a_user_chooses_a_project_or_the_personal_one(api):
    ada = await api.member("ada")
    named = await api.post("/conversations", {"project_id": api.project.id}, 201, by=ada)
    assert named["project_id"] == api.project.id
    own = await api.post("/conversations", {}, 201, by=ada)
    assert own["project_id"] is None
    assert await api.get(f"/conversations/{own['id']}", by=ada) == own
    await api.refused(404, "NOT_FOUND", "GET", f"/conversations/{own['id']}")
    await api.refused(404, "NOT_FOUND", "GET", f"/conversations/{own['id']}", by=api.token("eve"))


async def test_a_project_of_others_is_not_found(api):
    for ref in ("elsewhere", api.other.id, "nowhere"):
        problem = await api.refused(404, "NOT_FOUND", "POST", "/conversations", {"project_id": ref})
        assert problem["detail"] == "Project not found"


async def test_a_reader_cannot_create_conversations(api):
    await api.refused(403, "FORBIDDEN", "POST", "/conversations", {}, by="read")
    viewer = await api.member("ada", role="viewer")
    await api.refused(403, "FORBIDDEN", "POST", "/conversations", {"project_id": api.project.id}, by=viewer)


BAD = [
    {"type": "talk"},
    {"title": "T" * 501},
    {"title": 5},
    {"title": "a\0b"},
    {"metadata": []},
    {"metadata": {"a": "x" * 262_144}},
    {"project_id": ""},
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
async def test_a_malformed_conversation_is_refused(driver, body):
    await driver.refused(400, "INVALID_REQUEST", "POST", "/conversations", body)


async def test_the_projection_has_all_its_members(api):
    run, path = await api.agent_run()
    shown = await api.get(path)
    assert set(shown) == set(PROJECTION.split())
    assert (shown["run_id"], shown["conversation_id"]) == (run["run_id"], path.split("/")[2])
    assert (shown["project_id"], shown["status"], shown["agent_id"]) == (api.project.id, "pending", "scribe")
    assert (shown["latest_event_id"], shown["latest_external_event_sequence"]) == (0, 0)
    uuid.UUID(shown["message_id"])


async def test_the_projection_shows_the_requesting_user(api):
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


async def test_the_projection_shows_the_outcome(api):
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


async def change(api, path, body, status=200, **options):
    response = await api.send("PATCH", path, body, **options)
    assert response.status_code == status, response.text
    return response.json()


async def test_a_conversation_is_changed_member_by_member(api):
    path = f"/conversations/{await api.conversation(title='First')}"
    api.clock.advance(1)
    changed = await change(api, path, {"title": "Second", "summary": "S", "status": "archived"})
    assert (changed["title"], changed["summary"], changed["status"]) == ("Second", "S", "archived")
    assert changed["archived_at"] == changed["updated_at"] == "2026-03-20T12:00:01.000Z"
    assert await api.get(path) == changed
    assert await change(api, path, {}) == changed
    assert await change(api, path, {"title": None, "status": "active"}) == {
        **changed,
        "title": None,
        "status": "active",
        "archived_at": None,
    }


BAD_CHANGES = [
    {"title": 5},
    {"title": "x" * 501},
    {"title": "a\0b"},
    {"summary": []},
    {"status": "deleted"},
    {"status": None},
    {"project_id": ""},
    {"project_id": None},
]


@pytest.mark.parametrize("body", BAD_CHANGES, ids=range(len(BAD_CHANGES)))
async def test_a_malformed_change_is_refused(driver, body):
    path = f"/conversations/{await driver.conversation()}"
    before = await driver.get(path)
    await driver.refused(400, "INVALID_REQUEST", "PATCH", path, body)
    assert await driver.get(path) == before


async def test_a_change_with_an_idempotency_key_is_applied_once(api):
    path = f"/conversations/{await api.conversation()}"
    headers = {"Idempotency-Key": "k"}
    first = await change(api, path, {"title": "One"}, headers=headers)
    await change(api, path, {"title": "Two"})
    assert await change(api, path, {"title": "One"}, headers=headers) == first
    assert (await api.get(path))["title"] == "Two"
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "PATCH", path, {"title": "Three"}, headers=headers)


async def test_a_deleted_conversation_is_not_found_and_refuses_writes(api):
    run, path = await api.agent_run()
    conversation = path.rpartition("/runs/")[0]
    response = await api.send("DELETE", conversation)
    assert (response.status_code, response.json()["status"]) == (200, "deleted")
    text = {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    form = {"kind": "form", "requested_responder_type": "human", "title": "T", "run_id": run["run_id"]}
    form |= {"tool_call_id": "t", "fields": [{"name": "n", "label": "N", "type": "text"}]}
    tries = [
        ("GET", conversation, ...),
        ("PATCH", conversation, {"title": "Again"}),
        ("DELETE", conversation, ...),
        ("GET", f"{conversation}/messages", ...),
        ("POST", f"{conversation}/messages", text),
        ("GET", f"{conversation}/input-requests", ...),
        ("POST", f"{conversation}/input-requests", form),
        ("POST", "/runs", api.agent(conversation.rpartition("/")[2])),
    ]
    for method, where, body in tries:
        problem = await api.refused(404, "NOT_FOUND", method, where, body)
        assert problem["detail"] == "Conversation not found"
    assert (await api.get("/conversations"))["data"] == []


async def test_a_run_in_a_deleted_conversation_continues(api):
    run, path = await api.agent_run()
    await api.send("DELETE", path.rpartition("/runs/")[0])
    await api.post(f"{path}/events", {"events": [{"type": "RUN_STARTED"}]})
    assert (await api.get(path))["status"] == "running"
    assert (await api.complete(run["run_id"]))["completed"] is True


async def test_conversations_are_listed_newest_first_page_by_page(api):
    made = []
    for number in range(5):
        made.append(await api.conversation(title=f"C{number}"))
        api.clock.advance(1)
    first = await api.get("/conversations?limit=2")
    await api.conversation(title="later")
    cursor = first["page_info"]["next"]
    second = await api.get("/conversations", params={"limit": 2, "cursor": cursor})
    third = await api.get("/conversations", params={"limit": 2, "cursor": second["page_info"]["next"]})
    assert [one["id"] for page in (first, second, third) for one in page["data"]] == made[::-1]
    assert first["page_info"] == {"self": None, "first": None, "next": cursor, "prev": None}
    assert (second["page_info"]["self"], third["page_info"]["next"]) == (cursor, None)
    assert first["data"][0] == await api.get(f"/conversations/{made[-1]}")
    for bad in ("limit=0", "limit=101", "cursor=x", "cursor=-1", "status=deleted"):
        await api.refused(400, "INVALID_REQUEST", "GET", f"/conversations?{bad}")


async def test_a_list_of_conversations_is_filtered_by_project_and_status(api):
    ada = await api.member("ada")
    own = (await api.post("/conversations", {}, 201, by=ada))["id"]
    named = (await api.post("/conversations", {"project_id": "inventory"}, 201, by=ada))["id"]
    await change(api, f"/conversations/{named}", {"status": "archived"}, by=ada)

    async def ids(query="", by=ada):
        return {one["id"] for one in (await api.get(f"/conversations{query}", by=by))["data"]}

    assert await ids() == {own, named}
    assert await ids("?project_id=inventory") == await ids(f"?project_id={api.project.id}") == {named}
    assert await ids("?status=active") == {own}
    assert await ids(by="default") == {named}
    assert await ids(by="other") == await ids(by=api.token("eve")) == set()
    await api.refused(404, "NOT_FOUND", "GET", "/conversations?project_id=elsewhere", by=ada)


async def test_everything_works_in_the_personal_project(api):
    ada, eve = api.token("ada"), api.token("eve")
    path = f"/conversations/{(await api.post('/conversations', {}, 201, by=ada))['id']}"
    run = await api.create(api.agent(path.rpartition("/")[2], public_id="mine"), by=ada)
    text = {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    await api.post(f"{path}/messages", text, 201, by=ada)
    await api.post(f"{path}/runs/mine/events", {"events": [{"type": "RUN_STARTED"}]}, by=ada)
    await api.post("/runs/mine/complete", {"status": "completed"}, by=ada)
    assert [one["status"] for one in (await api.get(f"{path}/messages", by=ada))["data"]] == ["completed"] * 2
    assert (await api.get(f"{path}/runs/{run['run_id']}", by=ada))["status"] == "completed"
    await api.refused(404, "NOT_FOUND", "GET", f"{path}/messages", by=eve)
    await api.refused(404, "NOT_FOUND", "GET", f"{path}/messages")


async def test_a_personal_conversation_moves_once_with_its_runs(api):
    ada = await api.member("ada")
    path = f"/conversations/{(await api.post('/conversations', {}, 201, by=ada))['id']}"
    await api.create(api.agent(path.rpartition("/")[2], public_id="mine"), by=ada)
    await api.refused(404, "NOT_FOUND", "PATCH", path, {"project_id": "elsewhere"}, by=ada)
    linked = await change(api, path, {"project_id": "inventory"}, by=ada)
    assert linked["project_id"] == api.project.id
    assert await change(api, path, {"project_id": api.project.id}, by=ada) == linked
    # What a published client does next: a child run in another conversation of the project.
    child = await api.conversation(project_id=api.project.id, type="project_agent")
    await api.create(api.agent(child, public_id="child", parent_run_id="mine"), by=ada)
    assert (await api.get(f"{path}/runs/mine"))["project_id"] == api.project.id
    await api.store.identity.create_project(new_project("third", "Third"), None, None)
    third = (await api.store.identity.project("third")).id
    await api.member("ada", await api.store.identity.project("third"))
    api.authenticator.forget()
    problem = await api.refused(409, "CONVERSATION_LINKED", "PATCH", path, {"project_id": third}, by=ada)
    assert "another project" in problem["detail"]


async def test_a_run_of_another_conversation_is_not_found(api):
    run, _ = await api.agent_run()
    other = f"/conversations/{await api.conversation()}/runs/{run['run_id']}"
    for path in (other, f"{other}/children", f"{other}/events", f"{other}/snapshot"):
        await api.refused(404, "NOT_FOUND", "GET", path)
    await api.refused(404, "NOT_FOUND", "POST", f"{other}/events", {"events": [{"type": "A"}]})


async def test_children_come_page_by_page(api):
    run, path = await api.agent_run()
    names = [f"child-{number}" for number in range(5)]
    for name in names:
        elsewhere = await api.conversation()
        await api.create(api.agent(elsewhere, public_id=name, parent_run_id=run["run_id"]))
        await api.create(api.task(parent_run_id=run["run_id"]))
    found, cursor = [], None
    while True:
        page = await api.get(f"{path}/children", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        assert page["page_info"]["self"] == cursor
        found += [one["run_id"] for one in page["data"]]
        cursor = page["page_info"]["next"]
        if cursor is None:
            break
    assert found == names
    await api.refused(400, "INVALID_REQUEST", "GET", f"{path}/children?cursor=x")
