"""Triggers with an agent as target: conversations, messages and dispatch of their runs."""

import json

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

NOWHERE = "77777777-7777-4777-8777-777777777777"


class Calls:
    """Calls of an agent's trigger, and the runs that they start."""

    def __init__(self, api):
        self.api = api
        self.path = f"/projects/{api.project.slug}/triggers"

    async def make(self, **members):
        made = await self.api.post(
            self.path, {"target": "agent:scribe", "name": "Mail", **members}, 201, by="admin"
        )
        self.token = made["token"]
        return made["trigger"]

    async def fire(self, body=b"", status=202, **options):
        response = await self.api.send("POST", f"/triggers/{self.token}", body, by=None, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def started(self, body=b"", **options):
        return await self.api.run((await self.fire(body, **options))["run_id"])


@pytest.fixture
def calls(api):
    return Calls(api)


async def test_each_call_starts_a_run_in_a_new_conversation(calls, api):
    assert (await calls.make())["conversation_id"] is None
    runs = [await calls.started({"n": n}) for n in (1, 2)]
    assert len({run["conversation_id"] for run in runs}) == 2
    run = runs[0]
    assert (run["kind"], run["target"], run["input"]) == ("agent", "agent:scribe", {"n": 1})
    assert (run["trigger_kind"], run["title"]) == ("webhook", "Mail")
    place = f"/conversations/{run['conversation_id']}"
    conversation = await api.get(place)
    assert (conversation["title"], conversation["agent_id"], conversation["message_count"]) == (
        "Mail",
        "scribe",
        1,
    )
    projection = await api.get(f"{place}/runs/{run['run_id']}")
    (message,) = (await api.get(f"{place}/messages"))["data"]
    assert (projection["agent_id"], projection["message_id"]) == ("scribe", message["id"])


async def test_runs_join_the_conversation_of_the_trigger(calls, api):
    place = await api.conversation(project_id="inventory")
    trigger = await calls.make(conversation_id=place.upper())
    assert trigger["conversation_id"] == place
    assert await api.get(f"{calls.path}/{trigger['id']}", by="admin") == trigger
    assert {(await calls.started())["conversation_id"] for _ in range(2)} == {place}
    assert (await api.get(f"/conversations/{place}"))["message_count"] == 2
    await api.send("DELETE", f"/conversations/{place}")
    before = (await api.get("/runs"))["data"]
    assert (await calls.fire(status=404))["code"] == "NOT_FOUND"
    assert (await api.get("/runs"))["data"] == before


async def test_a_conversation_of_another_project_is_not_found_for_a_trigger(calls, api):
    foreign = (await api.post("/conversations", {}, 201, by="other"))["id"]
    for place in (foreign, NOWHERE):
        body = {"target": "agent:scribe", "conversation_id": place}
        await api.refused(404, "NOT_FOUND", "POST", calls.path, body, by="admin")
    assert (await api.get(calls.path, by="admin"))["data"] == []


async def test_a_repeat_creates_no_second_run_or_conversation(calls, api):
    await calls.make()
    key = {"Idempotency-Key": "k"}
    first = await calls.fire({"n": 1}, headers=key)
    assert await calls.fire({"n": 1}, headers=key) == first | {"duplicate": True}
    assert (await calls.fire({"n": 2}, 409, headers=key))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert len((await api.get("/conversations"))["data"]) == 1


@pytest.mark.parametrize(
    ("config", "body", "texts"),
    [
        ({"prompt": "Sort this."}, {"from": "ada"}, ["Sort this.", '{"from":"ada"}']),
        ({"prompt": ["no text"]}, b'"Hello"', ["Hello"]),
        (None, b"", None),
        ({"prompt": ""}, b'""', None),
        (None, b"false", ["false"]),
    ],
)
async def test_the_agents_service_receives_the_prompt_and_the_payload(pushing, config, body, texts):
    api = pushing.api
    calls = Calls(api)
    await pushing.register(agent_id="scribe")
    await calls.make(**({} if config is None else {"config": config}))
    run = await calls.started(body)
    await pushing.tick()
    (request,) = pushing.service.asked()
    found = [[part["text"] for part in message["parts"]] for message in request.body["messages"]]
    assert found == ([] if texts is None else [texts])
    assert request.body["agentId"] == "scribe"
    assert request.body["durableRootRun"]["runId"] == run["run_id"]
    assert (await api.run(run["run_id"]))["status"] == "running"


async def test_a_payload_over_the_bound_of_start_payloads_is_refused(calls, api):
    await calls.make(config={"prompt": "x" * 60_000})
    quotes = '"' * (limits.trigger_body_bytes_max // 2 - 2)
    answer = await calls.fire(json.dumps(quotes).encode())
    assert (await api.run(answer["run_id"]))["input"] == quotes
    escaped = b'["' + b'\\"' * (limits.trigger_body_bytes_max // 2 - 2) + b'"]'
    assert (await calls.fire(escaped, 400))["code"] == "REQUEST_SNAPSHOT_TOO_LARGE"
    assert len((await api.get("/conversations"))["data"]) == 1
