"""`…/input-requests`: a run asks, somebody answers, the run goes on."""

import asyncio
import uuid

import pytest

pytestmark = pytest.mark.postgres

MEMBERS = """id conversation_id run_id tool_call_id kind status requested_responder_type title description fields
recommendations metadata created_at expires_at submitted_at cancelled_at expired_at latest_response"""
RESPONSE = "id input_request_id conversation_id run_id actor_type actor_id values created_at withheld"
FIELDS = [
    {"name": "city", "label": "City", "type": "text", "required": True},
    {"name": "size", "label": "Size", "type": "select", "options": [{"value": "s", "label": "S"}]},
    {"name": "count", "label": "Count", "type": "number", "min": 1},
    {"name": "sure", "label": "Sure?", "type": "confirm"},
]
FORM = {"kind": "form", "requested_responder_type": "human", "title": "Where to?", "fields": FIELDS}
VALUES = {"city": "Oslo", "size": "s", "count": 2, "sure": True}


class Asked:
    """An agent run, its conversation, and the request that it made."""

    def __init__(self, api, run, conversation):
        self.api, self.run_id, self.conversation = api, run["run_id"], conversation
        self.where = f"{conversation}/input-requests"

    async def ask(self, call="t1", status=201, **members):
        body = {**FORM, "run_id": self.run_id, "tool_call_id": call, **members}
        made = await self.api.post(self.where, body, status)
        self.path = f"{self.where}/{made['id']}"
        return made

    async def answer(self, values=None, **options):
        body = {"values": VALUES if values is None else values}
        return await self.api.post(f"{self.path}/responses", body, 201, **options)

    async def run(self):
        return await self.api.run(self.run_id)

    async def events(self):
        page = await self.api.get(f"/runs/{self.run_id}/events")
        return [event["payload"] for event in page["data"]]


@pytest.fixture
async def asked(api):
    run, path = await api.agent_run()
    return Asked(api, run, path.rpartition("/runs/")[0])


@pytest.fixture
async def alone(driver):
    run, path = await driver.agent_run()
    return Asked(driver, run, path.rpartition("/runs/")[0])


async def test_a_request_is_stored_with_all_its_members_and_holds_its_run(api, asked):
    members = {
        "description": "D",
        "expires_at": "2026-03-20T13:30:00+01:00",
        "metadata": {"submitLabel": "Go"},
    }
    made = await asked.ask(**members)
    assert set(made) == set(MEMBERS.split())
    uuid.UUID(made["id"])
    assert (made["run_id"], made["tool_call_id"], made["status"]) == (asked.run_id, "t1", "open")
    assert (made["title"], made["description"], made["metadata"]) == ("Where to?", "D", {"submitLabel": "Go"})
    assert (made["created_at"], made["expires_at"]) == (
        "2026-03-20T12:00:00.000Z",
        "2026-03-20T12:30:00.000Z",
    )
    assert made["fields"][0] == {**FIELDS[0], "secret": False}
    assert made["fields"][3]["confirmLabel"] == "Yes"
    assert await api.get(asked.path) == made
    run = await asked.run()
    assert (run["status"], run["waiting_reason"], run["waiting_tool_call_id"]) == ("waiting", "input", "t1")
    projection = await api.get(f"{asked.conversation}/runs/{asked.run_id}")
    assert (projection["status"], projection["waiting_tool_call_id"]) == ("waiting_for_tool", "t1")


async def test_an_integer_of_a_field_may_be_written_with_a_fraction_of_nothing(asked):
    fields = [{"name": "a", "label": "A", "type": "textarea", "rows": 5.0, "defaultValue": "5"}]
    [field] = (await asked.ask(fields=fields))["fields"]
    assert (field["rows"], field["defaultValue"]) == (5, "5")


async def test_a_new_request_says_where_it_is(api, asked):
    body = {**FORM, "run_id": asked.run_id, "tool_call_id": "t"}
    response = await api.send("POST", asked.where, body)
    assert (await api.get(response.headers["location"]))["id"] == response.json()["id"]


async def test_a_response_resumes_the_run(api, asked):
    made = await asked.ask()
    api.clock.advance(3)
    told = await asked.answer()
    assert (told["id"], told["status"], told["submitted_at"]) == (
        made["id"],
        "submitted",
        "2026-03-20T12:00:03.000Z",
    )
    response = told["latest_response"]
    assert set(response) == set(RESPONSE.split())
    assert (response["input_request_id"], response["run_id"]) == (made["id"], asked.run_id)
    assert (response["values"], response["withheld"], response["actor_type"]) == (VALUES, [], "api_key")
    assert await api.get(asked.path) == told
    assert (await asked.run())["status"] == "running"
    [event] = await asked.events()
    assert (event["type"], event["toolCallId"], event["isError"]) == ("TOOL_CALL_RESULT", "t1", False)
    assert (event["result"]["values"], event["result"]["inputRequestId"]) == (VALUES, made["id"])


async def test_a_users_response_names_the_user(api, asked):
    await asked.ask()
    told = await asked.answer(by=await api.member("ada"))
    assert (told["latest_response"]["actor_type"], told["latest_response"]["actor_id"]) == ("user", "ada")


async def test_the_same_response_again_is_the_same_and_another_is_refused(api, asked):
    await asked.ask()
    first = await asked.answer()
    assert await asked.answer(dict(reversed(VALUES.items()))) == first
    other = {"values": {**VALUES, "city": "Rome"}}
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{asked.path}/responses", other)
    assert len(await asked.events()) == 1


async def test_of_many_responses_one_resumes_the_run(api, asked):
    await asked.ask()
    tries = (
        api.send("POST", f"{asked.path}/responses", {"values": {"city": f"C{number}"}})
        for number in range(10)
    )
    answers = await asyncio.gather(*tries)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert len(await asked.events()) == 1


async def test_values_that_do_not_fit_are_named_one_by_one_and_change_nothing(api, asked):
    made = await asked.ask()
    values = {"size": "xl", "count": "many", "sure": "yes", "what": 1}
    told = await api.refused(400, "INVALID_REQUEST", "POST", f"{asked.path}/responses", {"values": values})
    assert {one["path"]: one["message"] for one in told["errors"]} == {
        "$.values.city": "is required",
        "$.values.size": "must be the value of one of the options",
        "$.values.count": "must be a number",
        "$.values.sure": "must be a boolean",
        "$.values.what": "the form has no such field",
    }
    assert await api.get(asked.path) == made


async def test_a_cancelled_request_resumes_the_run_with_an_error(api, asked):
    await asked.ask()
    told = await api.post(f"{asked.path}/cancel")
    assert (told["status"], told["cancelled_at"], told["latest_response"]) == (
        "cancelled",
        "2026-03-20T12:00:00.000Z",
        None,
    )
    assert await api.post(f"{asked.path}/cancel") == told
    assert (await asked.run())["status"] == "running"
    [event] = await asked.events()
    assert (event["content"], event["isError"]) == ("The input request was cancelled", True)
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{asked.path}/responses", {"values": VALUES})


async def test_a_submitted_request_is_not_cancelled(api, asked):
    await asked.ask()
    await asked.answer()
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{asked.path}/cancel")


async def test_an_expired_request_fails_its_run(api, asked):
    await asked.ask(expires_at="2026-03-20T12:00:30Z")
    await api.pass_time(29)
    assert (await api.get(asked.path))["status"] == "open"
    await api.pass_time(1)
    told = await api.get(asked.path)
    assert (told["status"], told["expired_at"]) == ("expired", "2026-03-20T12:00:30.000Z")
    run = await asked.run()
    assert (run["status"], run["error"]["code"]) == ("failed", "WAIT_EXPIRED")
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{asked.path}/responses", {"values": VALUES})


@pytest.mark.parametrize("end", ["complete", "cancel", "ancestor"])
async def test_a_request_ends_with_its_run(api, end):
    parent = await api.create()
    conversation = await api.conversation()
    body = api.agent(conversation, parent_run_id=parent["run_id"])
    asked = Asked(api, await api.create(body), f"/conversations/{conversation}")
    await asked.ask()
    if end == "complete":
        await api.complete(asked.run_id)
    else:
        await api.post(f"/runs/{parent['run_id'] if end == 'ancestor' else asked.run_id}/cancel")
    assert (await api.get(asked.path))["status"] == "cancelled"
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{asked.path}/responses", {"values": VALUES})


async def test_a_run_asks_one_thing_at_a_time_and_each_call_once(api, asked):
    first = await asked.ask("t1")
    assert await asked.ask("t1") == first
    body = {**FORM, "run_id": asked.run_id}
    for other in ({"tool_call_id": "t2"}, {"tool_call_id": "t1", "title": "Other"}):
        await api.refused(409, "RUN_ALREADY_WAITING", "POST", asked.where, {**body, **other})
    told = await asked.answer()
    assert await asked.ask("t1") == told
    other = {**body, "tool_call_id": "t1", "title": "Other"}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", asked.where, other)
    assert (await asked.ask("t2"))["status"] == "open"


async def test_a_run_that_has_ended_asks_nothing(api, asked):
    await api.complete(asked.run_id)
    body = {**FORM, "run_id": asked.run_id, "tool_call_id": "t"}
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", asked.where, body)


async def test_a_run_asks_in_its_own_conversation_alone(api, asked):
    elsewhere = f"/conversations/{await api.conversation()}/input-requests"
    body = {**FORM, "run_id": asked.run_id, "tool_call_id": "t"}
    told = await api.refused(404, "NOT_FOUND", "POST", elsewhere, body)
    assert told["detail"] == "Run not found"
    made = await asked.ask()
    for method, path in (("GET", ""), ("POST", "/cancel")):
        await api.refused(404, "NOT_FOUND", method, f"{elsewhere}/{made['id']}{path}")


async def test_a_plain_resume_cannot_answer_an_input_request(api, asked):
    await asked.ask()
    for kind in ("input", "tool_result"):
        told = await api.refused(
            409,
            "TOOL_RESULT_CONFLICT",
            "POST",
            f"/runs/{asked.run_id}/resume",
            {"type": kind, "tool_call_id": "t1"},
        )
        assert f"{asked.path}/responses" in told["detail"]
    assert (await api.get(asked.path))["status"] == "open"


async def test_a_plain_wait_for_a_call_that_was_answered_goes_on(api, asked):
    await asked.ask()
    await asked.answer()
    wait = {"reason": "input", "tool_call_id": "t1"}
    assert (await api.post(f"/runs/{asked.run_id}/wait", wait))["run"]["status"] == "running"


async def test_a_run_without_an_input_request_resumes_by_plain_input_as_before(api, asked):
    await api.post(f"/runs/{asked.run_id}/wait", {"reason": "input", "tool_call_id": "t1"})
    body = {"type": "input", "tool_call_id": "t1", "result": {"city": "Oslo"}}
    assert await api.post(f"/runs/{asked.run_id}/resume", body) == {"accepted": True}


async def test_a_waiting_run_takes_no_events_until_it_is_answered(api, asked):
    await asked.ask()
    path = f"{asked.conversation}/runs/{asked.run_id}/events"
    told = await api.refused(400, "EVENT_RUN_WAITING", "POST", path, {"events": [{"type": "A"}]})
    assert told["detail"] == "Cannot append external events while the run is waiting for a tool result"
    await asked.answer()
    answer = await api.post(path, {"events": [{"type": "A"}], "expected_previous_external_event_sequence": 0})
    assert (answer["latest_event_id"], answer["latest_external_event_sequence"]) == (2, 1)


async def test_a_worker_asks_under_its_fence_and_goes_on_with_its_lease(api):
    run, path = await api.agent_run(request={"implementation_kind": "claude"})
    worker, _ = await api.worker("claude")
    taken = (await api.claim(worker, kinds=["agent"]))["run"]
    asked = Asked(api, run, path.rpartition("/runs/")[0])
    body = {**FORM, "run_id": run["run_id"], "tool_call_id": "t", "attempt": 2}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", asked.where, body)
    forged = {"headers": {"X-Lease-Token": "forged"}}
    body.pop("attempt")
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", asked.where, body, **forged)
    await asked.ask(attempt=taken["attempt"])
    await asked.answer()
    assert (await api.complete(run["run_id"], attempt=1))["completed"] is True


async def test_a_follower_is_woken_by_the_answer(api, asked):
    await asked.ask()
    run = await api.store.runs.find(asked.run_id, [api.project.id])
    following = api.app.followers.follow(run[0], 0, lambda event: event.type.encode())
    first = asyncio.ensure_future(anext(following))
    await api.subscribed()
    await asked.answer()
    assert await asyncio.wait_for(first, 5) == b"TOOL_CALL_RESULT"
    await following.aclose()


async def test_requests_are_listed_newest_first_by_status_page_by_page(api, asked):
    ids = []
    for number in range(4):
        ids.append((await asked.ask(f"t{number}"))["id"])
        if number < 3:
            await asked.answer()
    first = await api.get(f"{asked.where}?limit=3")
    assert [one["id"] for one in first["data"]] == ids[:0:-1]
    assert set(first["page_info"]) == {"self", "first", "next", "prev"}
    last = await api.get(asked.where, params={"limit": 3, "cursor": first["page_info"]["next"]})
    assert ([one["id"] for one in last["data"]], last["page_info"]["next"]) == (ids[:1], None)
    opened = await api.get(f"{asked.where}?status=open")
    assert [one["id"] for one in opened["data"]] == ids[-1:]
    await api.refused(400, "INVALID_REQUEST", "GET", f"{asked.where}?status=closed")


async def test_a_response_under_an_idempotency_key_is_stored_once(api, asked):
    headers = {"Idempotency-Key": "k1"}
    made = await asked.ask()
    body = {"values": VALUES}
    first = await api.post(f"{asked.path}/responses", body, 201, headers=headers)
    assert await api.post(f"{asked.path}/responses", body, 201, headers=headers) == first
    other = {"values": {"city": "Rome"}}
    path = f"{asked.path}/responses"
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", path, other, headers=headers)
    assert first["id"] == made["id"]


async def test_a_token_bound_to_another_run_sees_no_request(api, asked):
    await api.member("ada")
    await asked.ask()
    bound = api.token("ada", runId="another", projectId=api.project.id)
    await api.refused(404, "NOT_FOUND", "GET", asked.path, by=bound)
    await api.refused(403, "FORBIDDEN", "GET", asked.where, by=bound)
    own = api.token("ada", runId=asked.run_id, projectId=api.project.id)
    assert (await api.get(asked.path, by=own))["status"] == "open"


async def test_who_may_only_read_neither_asks_nor_answers(api, asked):
    await asked.ask()
    assert (await api.get(asked.path, by="read"))["status"] == "open"
    for path, body in (("/responses", {"values": VALUES}), ("/cancel", ...)):
        await api.refused(403, "FORBIDDEN", "POST", f"{asked.path}{path}", body, by="read")


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
async def test_what_is_no_request_is_refused_and_the_run_goes_on(driver, alone, members):
    body = {**FORM, "run_id": alone.run_id, "tool_call_id": "t", **members}
    await driver.refused(400, "INVALID_REQUEST", "POST", alone.where, body)
    assert (await alone.run())["status"] == "pending"


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
async def test_what_is_no_response_is_refused(driver, alone, body):
    await alone.ask()
    await driver.refused(400, "INVALID_REQUEST", "POST", f"{alone.path}/responses", body)
    assert (await driver.get(alone.path))["status"] == "open"


async def test_answers_are_as_their_schemas_say(driver, alone):
    from jsonschema import Draft202012Validator

    from runstead.http.framework.app import operations
    from runstead.http.openapi.document import document

    told = document(operations())

    def check(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        Draft202012Validator(schema).validate(value)

    check("InputRequestView", await alone.ask(description="D", metadata={}))
    check("InputRequestView", await alone.answer())
    check("InputRequestPage", await driver.get(alone.where))
    check("MessagePage", await driver.get(f"{alone.conversation}/messages"))
    check("ConversationPage", await driver.get("/conversations"))
