"""`…/input-requests`: a run opens a request, a response resumes the run."""

import asyncio
import uuid

import pytest

pytestmark = pytest.mark.postgres

MEMBERS = """id conversation_id run_id tool_call_id kind status requested_responder_type title description fields
recommendations metadata created_at expires_at submitted_at cancelled_at expired_at latest_response keeps_secrets"""
RESPONSE = "id input_request_id conversation_id run_id actor_type actor_id values created_at withheld"
FIELDS = [
    {"name": "city", "label": "City", "type": "text", "required": True},
    {"name": "size", "label": "Size", "type": "select", "options": [{"value": "s", "label": "S"}]},
    {"name": "count", "label": "Count", "type": "number", "min": 1},
    {"name": "sure", "label": "Sure?", "type": "confirm"},
]
FORM = {"kind": "form", "requested_responder_type": "human", "title": "Where to?", "fields": FIELDS}
VALUES = {"city": "Oslo", "size": "s", "count": 2, "sure": True}


class InputForm:
    """An agent run, its conversation, and its input request."""

    def __init__(self, api, run, conversation):
        self.api, self.run_id, self.conversation = api, run["run_id"], conversation
        self.collection = f"{conversation}/input-requests"

    async def open(self, call="t1", status=201, **members):
        body = {**FORM, "run_id": self.run_id, "tool_call_id": call, **members}
        made = await self.api.post(self.collection, body, status)
        self.path = f"{self.collection}/{made['id']}"
        return made

    async def respond(self, values=None, **options):
        body = {"values": VALUES if values is None else values}
        return await self.api.post(f"{self.path}/responses", body, 201, **options)

    async def run(self):
        return await self.api.run(self.run_id)

    async def events(self):
        page = await self.api.get(f"/runs/{self.run_id}/events")
        return [event["payload"] for event in page["data"]]


@pytest.fixture
async def form_of_run(api):
    run, path = await api.agent_run()
    return InputForm(api, run, path.rpartition("/runs/")[0])


@pytest.fixture
async def form_in_memory(driver):
    run, path = await driver.agent_run()
    return InputForm(driver, run, path.rpartition("/runs/")[0])


async def test_a_request_is_stored_with_all_its_members_and_its_run_waits(api, form_of_run):
    members = {
        "description": "D",
        "expires_at": "2026-03-20T13:30:00+01:00",
        "metadata": {"submitLabel": "Go"},
    }
    made = await form_of_run.open(**members)
    assert set(made) == set(MEMBERS.split())
    uuid.UUID(made["id"])
    assert (made["run_id"], made["tool_call_id"], made["status"]) == (form_of_run.run_id, "t1", "open")
    assert (made["title"], made["description"], made["metadata"]) == ("Where to?", "D", {"submitLabel": "Go"})
    assert (made["created_at"], made["expires_at"]) == (
        "2026-03-20T12:00:00.000Z",
        "2026-03-20T12:30:00.000Z",
    )
    assert made["fields"][0] == {**FIELDS[0], "secret": False}
    assert made["fields"][3]["confirmLabel"] == "Yes"
    assert await api.get(form_of_run.path) == made
    run = await form_of_run.run()
    assert (run["status"], run["waiting_reason"], run["waiting_tool_call_id"]) == ("waiting", "input", "t1")
    projection = await api.get(f"{form_of_run.conversation}/runs/{form_of_run.run_id}")
    assert (projection["status"], projection["waiting_tool_call_id"]) == ("waiting_for_tool", "t1")


async def test_an_integer_of_a_field_may_be_written_with_a_zero_fraction(form_of_run):
    fields = [{"name": "a", "label": "A", "type": "textarea", "rows": 5.0, "defaultValue": "5"}]
    [field] = (await form_of_run.open(fields=fields))["fields"]
    assert (field["rows"], field["defaultValue"]) == (5, "5")


async def test_a_new_request_has_a_location(api, form_of_run):
    body = {**FORM, "run_id": form_of_run.run_id, "tool_call_id": "t"}
    response = await api.send("POST", form_of_run.collection, body)
    assert (await api.get(response.headers["location"]))["id"] == response.json()["id"]


async def test_a_response_resumes_the_run(api, form_of_run):
    made = await form_of_run.open()
    api.clock.advance(3)
    answer = await form_of_run.respond()
    assert (answer["id"], answer["status"], answer["submitted_at"]) == (
        made["id"],
        "submitted",
        "2026-03-20T12:00:03.000Z",
    )
    response = answer["latest_response"]
    assert set(response) == set(RESPONSE.split())
    assert (response["input_request_id"], response["run_id"]) == (made["id"], form_of_run.run_id)
    assert (response["values"], response["withheld"], response["actor_type"]) == (VALUES, [], "api_key")
    assert await api.get(form_of_run.path) == answer
    assert (await form_of_run.run())["status"] == "running"
    [event] = await form_of_run.events()
    assert (event["type"], event["toolCallId"], event["isError"]) == ("TOOL_CALL_RESULT", "t1", False)
    assert (event["result"]["values"], event["result"]["inputRequestId"]) == (VALUES, made["id"])


async def test_a_users_response_names_the_user(api, form_of_run):
    await form_of_run.open()
    answer = await form_of_run.respond(by=await api.member("ada"))
    assert (answer["latest_response"]["actor_type"], answer["latest_response"]["actor_id"]) == ("user", "ada")


async def test_a_repeated_response_is_accepted_and_another_is_refused(api, form_of_run):
    await form_of_run.open()
    first = await form_of_run.respond()
    assert await form_of_run.respond(dict(reversed(VALUES.items()))) == first
    other = {"values": {**VALUES, "city": "Rome"}}
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{form_of_run.path}/responses", other)
    assert len(await form_of_run.events()) == 1


async def test_one_of_many_responses_resumes_the_run(api, form_of_run):
    await form_of_run.open()
    tries = (
        api.send("POST", f"{form_of_run.path}/responses", {"values": {"city": f"C{number}"}})
        for number in range(10)
    )
    answers = await asyncio.gather(*tries)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert len(await form_of_run.events()) == 1


async def test_each_invalid_value_is_listed_and_nothing_changes(api, form_of_run):
    made = await form_of_run.open()
    values = {"size": "xl", "count": "many", "sure": "yes", "what": 1}
    problem = await api.refused(
        400, "INVALID_REQUEST", "POST", f"{form_of_run.path}/responses", {"values": values}
    )
    assert {one["path"]: one["message"] for one in problem["errors"]} == {
        "$.values.city": "is required",
        "$.values.size": "must be the value of one of the options",
        "$.values.count": "must be a number",
        "$.values.sure": "must be a boolean",
        "$.values.what": "the form has no such field",
    }
    assert await api.get(form_of_run.path) == made


async def test_a_cancelled_request_resumes_the_run_with_an_error(api, form_of_run):
    await form_of_run.open()
    answer = await api.post(f"{form_of_run.path}/cancel")
    assert (answer["status"], answer["cancelled_at"], answer["latest_response"]) == (
        "cancelled",
        "2026-03-20T12:00:00.000Z",
        None,
    )
    assert await api.post(f"{form_of_run.path}/cancel") == answer
    assert (await form_of_run.run())["status"] == "running"
    [event] = await form_of_run.events()
    assert (event["content"], event["isError"]) == ("The input request was cancelled", True)
    await api.refused(
        409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{form_of_run.path}/responses", {"values": VALUES}
    )


async def test_a_submitted_request_is_not_cancelled(api, form_of_run):
    await form_of_run.open()
    await form_of_run.respond()
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{form_of_run.path}/cancel")


async def test_an_expired_request_fails_its_run(api, form_of_run):
    await form_of_run.open(expires_at="2026-03-20T12:00:30Z")
    await api.pass_time(29)
    assert (await api.get(form_of_run.path))["status"] == "open"
    await api.pass_time(1)
    answer = await api.get(form_of_run.path)
    assert (answer["status"], answer["expired_at"]) == ("expired", "2026-03-20T12:00:30.000Z")
    run = await form_of_run.run()
    assert (run["status"], run["error"]["code"]) == ("failed", "WAIT_EXPIRED")
    await api.refused(
        409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{form_of_run.path}/responses", {"values": VALUES}
    )


@pytest.mark.parametrize("end", ["complete", "cancel", "ancestor"])
@pytest.mark.postgres
async def test_a_request_ends_with_its_run(api, end):
    parent = await api.create()
    conversation = await api.conversation()
    body = api.agent(conversation, parent_run_id=parent["run_id"])
    form_of_run = InputForm(api, await api.create(body), f"/conversations/{conversation}")
    await form_of_run.open()
    if end == "complete":
        await api.complete(form_of_run.run_id)
    else:
        await api.post(f"/runs/{parent['run_id'] if end == 'ancestor' else form_of_run.run_id}/cancel")
    assert (await api.get(form_of_run.path))["status"] == "cancelled"
    await api.refused(
        409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{form_of_run.path}/responses", {"values": VALUES}
    )


async def test_a_run_has_one_open_request_and_one_per_tool_call(api, form_of_run):
    first = await form_of_run.open("t1")
    assert await form_of_run.open("t1") == first
    body = {**FORM, "run_id": form_of_run.run_id}
    for other in ({"tool_call_id": "t2"}, {"tool_call_id": "t1", "title": "Other"}):
        await api.refused(409, "RUN_ALREADY_WAITING", "POST", form_of_run.collection, {**body, **other})
    answer = await form_of_run.respond()
    assert await form_of_run.open("t1") == answer
    other = {**body, "tool_call_id": "t1", "title": "Other"}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", form_of_run.collection, other)
    assert (await form_of_run.open("t2"))["status"] == "open"


async def test_an_ended_run_cannot_open_a_request(api, form_of_run):
    await api.complete(form_of_run.run_id)
    body = {**FORM, "run_id": form_of_run.run_id, "tool_call_id": "t"}
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", form_of_run.collection, body)


async def test_a_run_opens_requests_in_its_own_conversation_only(api, form_of_run):
    elsewhere = f"/conversations/{await api.conversation()}/input-requests"
    body = {**FORM, "run_id": form_of_run.run_id, "tool_call_id": "t"}
    problem = await api.refused(404, "NOT_FOUND", "POST", elsewhere, body)
    assert problem["detail"] == "Run not found"
    made = await form_of_run.open()
    for method, path in (("GET", ""), ("POST", "/cancel")):
        await api.refused(404, "NOT_FOUND", method, f"{elsewhere}/{made['id']}{path}")


async def test_a_plain_resume_cannot_answer_an_input_request(api, form_of_run):
    await form_of_run.open()
    for kind in ("input", "tool_result"):
        problem = await api.refused(
            409,
            "TOOL_RESULT_CONFLICT",
            "POST",
            f"/runs/{form_of_run.run_id}/resume",
            {"type": kind, "tool_call_id": "t1"},
        )
        assert f"{form_of_run.path}/responses" in problem["detail"]
    assert (await api.get(form_of_run.path))["status"] == "open"


async def test_a_plain_wait_for_an_answered_call_does_not_wait(api, form_of_run):
    await form_of_run.open()
    await form_of_run.respond()
    wait = {"reason": "input", "tool_call_id": "t1"}
    assert (await api.post(f"/runs/{form_of_run.run_id}/wait", wait))["run"]["status"] == "running"


async def test_a_run_without_an_input_request_resumes_by_plain_input_as_before(api, form_of_run):
    await api.post(f"/runs/{form_of_run.run_id}/wait", {"reason": "input", "tool_call_id": "t1"})
    body = {"type": "input", "tool_call_id": "t1", "result": {"city": "Oslo"}}
    assert await api.post(f"/runs/{form_of_run.run_id}/resume", body) == {"accepted": True}


async def test_a_waiting_run_refuses_events_until_a_response(api, form_of_run):
    await form_of_run.open()
    path = f"{form_of_run.conversation}/runs/{form_of_run.run_id}/events"
    problem = await api.refused(400, "EVENT_RUN_WAITING", "POST", path, {"events": [{"type": "A"}]})
    assert problem["detail"] == "Cannot append external events while the run is waiting for a tool result"
    await form_of_run.respond()
    answer = await api.post(path, {"events": [{"type": "A"}], "expected_previous_external_event_sequence": 0})
    assert (answer["latest_event_id"], answer["latest_external_event_sequence"]) == (2, 1)


async def test_a_worker_opens_a_request_with_its_fence_and_keeps_its_lease(api):
    run, path = await api.agent_run(request={"implementation_kind": "claude"})
    worker, _ = await api.worker("claude")
    taken = (await api.claim(worker, kinds=["agent"]))["run"]
    form_of_run = InputForm(api, run, path.rpartition("/runs/")[0])
    body = {**FORM, "run_id": run["run_id"], "tool_call_id": "t", "attempt": 2}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", form_of_run.collection, body)
    forged = {"headers": {"X-Lease-Token": "forged"}}
    body.pop("attempt")
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", form_of_run.collection, body, **forged)
    await form_of_run.open(attempt=taken["attempt"])
    await form_of_run.respond()
    assert (await api.complete(run["run_id"], attempt=1))["completed"] is True


async def test_a_response_wakes_a_follower(api, form_of_run):
    await form_of_run.open()
    run = await api.store.runs.find(form_of_run.run_id, [api.project.id])
    following = api.app.followers.follow(run[0], 0, lambda event: event.type.encode())
    first = asyncio.ensure_future(anext(following))
    await api.subscribed()
    await form_of_run.respond()
    assert await asyncio.wait_for(first, 30) == b"TOOL_CALL_RESULT"
    await following.aclose()


async def test_requests_are_listed_newest_first_by_status_page_by_page(api, form_of_run):
    ids = []
    for number in range(4):
        ids.append((await form_of_run.open(f"t{number}"))["id"])
        if number < 3:
            await form_of_run.respond()
    first = await api.get(f"{form_of_run.collection}?limit=3")
    assert [one["id"] for one in first["data"]] == ids[:0:-1]
    assert set(first["page_info"]) == {"self", "first", "next", "prev"}
    last = await api.get(form_of_run.collection, params={"limit": 3, "cursor": first["page_info"]["next"]})
    assert ([one["id"] for one in last["data"]], last["page_info"]["next"]) == (ids[:1], None)
    opened = await api.get(f"{form_of_run.collection}?status=open")
    assert [one["id"] for one in opened["data"]] == ids[-1:]
    await api.refused(400, "INVALID_REQUEST", "GET", f"{form_of_run.collection}?status=closed")


async def test_a_response_with_an_idempotency_key_is_stored_once(api, form_of_run):
    headers = {"Idempotency-Key": "k1"}
    made = await form_of_run.open()
    body = {"values": VALUES}
    first = await api.post(f"{form_of_run.path}/responses", body, 201, headers=headers)
    assert await api.post(f"{form_of_run.path}/responses", body, 201, headers=headers) == first
    other = {"values": {"city": "Rome"}}
    path = f"{form_of_run.path}/responses"
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", path, other, headers=headers)
    assert first["id"] == made["id"]


async def test_a_token_bound_to_another_run_sees_no_request(api, form_of_run):
    await api.member("ada")
    await form_of_run.open()
    bound = api.token("ada", runId="another", projectId=api.project.id)
    await api.refused(404, "NOT_FOUND", "GET", form_of_run.path, by=bound)
    await api.refused(403, "FORBIDDEN", "GET", form_of_run.collection, by=bound)
    own = api.token("ada", runId=form_of_run.run_id, projectId=api.project.id)
    assert (await api.get(form_of_run.path, by=own))["status"] == "open"


async def test_a_reader_can_neither_open_nor_answer_requests(api, form_of_run):
    await form_of_run.open()
    assert (await api.get(form_of_run.path, by="read"))["status"] == "open"
    for path, body in (("/responses", {"values": VALUES}), ("/cancel", ...)):
        await api.refused(403, "FORBIDDEN", "POST", f"{form_of_run.path}{path}", body, by="read")


BAD = [
    {"kind": "poll"},
    {"requested_responder_type": "robot"},
    {"title": "x" * 1001},
    {"title": None},
    {"tool_call_id": ""},
    {"tool_call_id": "x" * 256},
    {"run_id": ""},
    {"fields": []},
    {"fields": [FIELDS[0]] * 2},
    {"fields": [{**FIELDS[0], "name": f"n{n}"} for n in range(101)]},
    {"fields": [{"name": "n", "label": "N", "type": "color"}]},
    {"fields": [{"name": "n", "label": "N", "type": "select"}]},
    {"fields": [{"name": "", "label": "N", "type": "text"}]},
    {"fields": [{"name": "x" * 129, "label": "N", "type": "text"}]},
    {"fields": [{"name": "n", "label": "x" * 257, "type": "text"}]},
    {"fields": [{"name": "n", "label": "N", "type": "text", "maxLength": 0}]},
    {"fields": [{"name": "n", "label": "N", "type": "text", "required": "yes"}]},
    {"expires_at": "2026-03-20T12:00:00"},
    {"expires_at": "2026-03-20T11:59:59Z"},
    {"metadata": []},
    {"metadata": {"a": "x" * 262_144}},
    {
        "fields": [
            {
                "name": f"n{n}",
                "label": "N",
                "type": "text",
                "description": "x" * 1024,
                "pattern": "x" * 512,
                "placeholder": "x" * 512,
                "defaultValue": "x" * 1024,
            }
            for n in range(100)
        ]
    },
]


@pytest.mark.parametrize("members", BAD, ids=range(len(BAD)))
async def test_a_malformed_request_is_refused_and_the_run_continues(driver, form_in_memory, members):
    body = {**FORM, "run_id": form_in_memory.run_id, "tool_call_id": "t", **members}
    await driver.refused(400, "INVALID_REQUEST", "POST", form_in_memory.collection, body)
    assert (await form_in_memory.run())["status"] == "pending"


BAD_RESPONSES = [
    {},
    {"values": []},
    {"values": {"city": {}}},
    {"values": {"city": ["Oslo"]}},
    {"values": None},
]
BAD_RESPONSES += [{"values": {"city": "\u00e9" * 65_536}}]
BAD_RESPONSES += [{"values": {"city": "Oslo", "count": 10**30}}, {"values": {f"n{n}": 1 for n in range(101)}}]


@pytest.mark.parametrize("body", BAD_RESPONSES, ids=range(len(BAD_RESPONSES)))
async def test_a_malformed_response_is_refused(driver, form_in_memory, body):
    await form_in_memory.open()
    await driver.refused(400, "INVALID_REQUEST", "POST", f"{form_in_memory.path}/responses", body)
    assert (await driver.get(form_in_memory.path))["status"] == "open"


async def test_answers_match_their_schemas(driver, form_in_memory):
    from jsonschema import Draft202012Validator

    from runstead.http.framework.app import operations
    from runstead.http.openapi.document import document

    found = document(operations())

    def check(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": found["components"]}
        Draft202012Validator(schema).validate(value)

    check("InputRequestView", await form_in_memory.open(description="D", metadata={}))
    check("InputRequestView", await form_in_memory.respond())
    check("InputRequestPage", await driver.get(form_in_memory.collection))
    check("MessagePage", await driver.get(f"{form_in_memory.conversation}/messages"))
    check("ConversationPage", await driver.get("/conversations"))
