"""`…/messages`: messages of users and of agent runs."""

import uuid

import pytest

from runstead.core import limits
from runstead.loops.retention import RetentionLoop

pytestmark = pytest.mark.postgres

MEMBERS = """id conversation_id seq role parts status parent_id created_by model token_usage finish_reason edited_at
idempotency_key metadata created_at updated_at run_id truncated"""
HELLO = {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}


@pytest.fixture
async def conversation(api):
    return f"/conversations/{await api.conversation()}"


async def add(api, conversation, status=201, **members):
    return await api.post(f"{conversation}/messages", {**HELLO, **members}, status)


async def messages(api, conversation, **params):
    return await api.get(f"{conversation}/messages", params=params)


async def spoken(api, conversation):
    return (await messages(api, conversation))["data"][-1]


async def test_a_message_is_stored_with_all_its_members(api, conversation):
    parts = [{"type": "text", "text": "Hello"}, {"type": "data", "name": "n", "value": {"deep": [1]}}]
    made = await add(api, conversation, parts=parts, metadata={"a": 1}, idempotency_key="k")
    assert set(made) == set(MEMBERS.split())
    uuid.UUID(made["id"])
    assert (made["seq"], made["role"], made["status"], made["parts"]) == (1, "user", "completed", parts)
    assert (made["metadata"], made["idempotency_key"], made["parent_id"]) == ({"a": 1}, "k", None)
    assert (made["model"], made["token_usage"], made["finish_reason"], made["edited_at"]) == (None,) * 4
    assert made["created_at"] == made["updated_at"] == "2026-03-20T12:00:00.000Z"
    assert await messages(api, conversation) == {
        "conversation_id": conversation.rpartition("/")[2],
        "data": [made],
        "page_info": {"self": None, "first": None, "next": None, "prev": None},
    }


async def test_the_conversation_shows_its_newest_message(api, conversation):
    await add(api, conversation)
    api.clock.advance(2)
    second = await add(api, conversation)
    answer = await api.get(conversation)
    assert (answer["message_count"], answer["current_node"]) == (2, second["id"])
    assert answer["last_message_at"] == answer["updated_at"] == second["created_at"]


async def test_a_repeat_with_the_same_key_returns_the_message(api, conversation):
    first = await add(api, conversation, idempotency_key="k", metadata={"a": 1, "b": 2})
    again = await add(api, conversation, idempotency_key="k", metadata={"b": 2, "a": 1})
    assert again == first
    body = {**HELLO, "idempotency_key": "k"}
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", f"{conversation}/messages", body)
    assert len((await messages(api, conversation))["data"]) == 1


async def test_the_idempotency_header_works_as_for_every_post(api, conversation):
    options = {"headers": {"Idempotency-Key": "k"}}
    first = await api.post(f"{conversation}/messages", HELLO, 201, **options)
    assert await api.post(f"{conversation}/messages", HELLO, 201, **options) == first
    assert (await api.get(conversation))["message_count"] == 1


async def test_a_parent_is_given_by_id_or_by_its_key(api, conversation):
    first = await add(api, conversation, idempotency_key="client-1")
    for name in (first["id"], "client-1"):
        assert (await add(api, conversation, parent_id=name))["parent_id"] == first["id"]
    elsewhere = f"/conversations/{await api.conversation()}"
    problem = await api.refused(
        404, "NOT_FOUND", "POST", f"{elsewhere}/messages", {**HELLO, "parent_id": first["id"]}
    )
    assert problem["detail"] == "Parent message not found"


BAD = [
    {},
    {"role": "user"},
    {"role": "user", "parts": []},
    {"role": "assistant", "parts": HELLO["parts"]},
    {"role": "user", "parts": HELLO["parts"] * 201},
    {"role": "user", "parts": [{"text": "no type"}]},
    {"role": "user", "parts": [{"type": 7}]},
    {"role": "user", "parts": ["text"]},
    {**HELLO, "idempotency_key": ""},
    {**HELLO, "idempotency_key": "x" * 256},
    {**HELLO, "metadata": []},
    {**HELLO, "parent_id": 7},
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
async def test_malformed_messages_are_refused(driver, body):
    conversation = f"/conversations/{await driver.conversation()}"
    await driver.refused(400, "INVALID_REQUEST", "POST", f"{conversation}/messages", body)
    assert (await driver.get(conversation))["message_count"] == 0


async def test_200_parts_and_a_key_of_255_characters_are_accepted(driver):
    conversation = f"/conversations/{await driver.conversation()}"
    made = await add(driver, conversation, parts=HELLO["parts"] * 200, idempotency_key="x" * 255)
    assert len(made["parts"]) == 200


async def test_messages_come_oldest_first_page_by_page(api, conversation):
    made = [(await add(api, conversation))["id"] for _ in range(5)]
    found, cursor = [], None
    for _ in range(3):
        page = await messages(api, conversation, limit=2, **({"cursor": cursor} if cursor else {}))
        found += [one["id"] for one in page["data"]]
        assert page["page_info"]["self"] == cursor
        cursor = page["page_info"]["next"]
    assert (found, cursor) == (made, None)
    for bad in ("limit=0", "limit=101", "cursor=x", "cursor=-1"):
        await api.refused(400, "INVALID_REQUEST", "GET", f"{conversation}/messages?{bad}")


async def test_a_reader_cannot_write_messages(api, conversation):
    await api.refused(403, "FORBIDDEN", "POST", f"{conversation}/messages", HELLO, by="read")
    assert (await api.get(f"{conversation}/messages", by="read"))["data"] == []


SPEECH = [
    {"type": "REASONING_MESSAGE_START", "messageId": "r", "role": "assistant"},
    {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "Hmm"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "lo"},
    {"type": "TOOL_CALL_START", "toolCallId": "t", "toolCallName": "search"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "t", "delta": '{"q":1}'},
    {"type": "TOOL_CALL_END", "toolCallId": "t"},
    {"type": "TOOL_CALL_RESULT", "messageId": "x", "toolCallId": "t", "content": "found"},
]
SPOKEN = [
    {"type": "reasoning", "text": "Hmm"},
    {"type": "text", "text": "Hello"},
    {"type": "tool_call", "id": "t", "name": "search", "input": {"q": 1}, "state": "completed"},
    {"type": "tool_result", "tool_call_id": "t", "output": "found", "is_error": False},
]


async def test_an_agent_runs_message_is_projected_from_its_events(api):
    run, path = await api.agent_run()
    conversation = path.rpartition("/runs/")[0]
    fresh = await spoken(api, conversation)
    assert (fresh["role"], fresh["status"], fresh["parts"]) == ("assistant", "pending", [])
    assert (fresh["id"], fresh["run_id"]) == ((await api.get(path))["message_id"], run["run_id"])
    await api.append(run["run_id"], {"type": "RUN_STARTED"}, *SPEECH[:4])
    assert (await spoken(api, conversation))["parts"][-1] == {"type": "text", "text": "Hel"}
    await api.append(run["run_id"], *SPEECH[4:])
    assert (await spoken(api, conversation))["status"] == "streaming"
    usage = {"model": "large", "finishReason": "stop", "inputTokens": 3, "outputTokens": 4}
    await api.complete(run["run_id"], metadata=usage)
    done = await spoken(api, conversation)
    assert (done["status"], done["parts"], done["truncated"]) == ("completed", SPOKEN, False)
    assert (done["model"], done["finish_reason"]) == ("large", "stop")
    assert done["token_usage"] == {"input": 3, "output": 4}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_message_has_the_status_of_its_run(api, status):
    run, path = await api.agent_run()
    conversation = path.rpartition("/runs/")[0]
    await api.complete(run["run_id"], status, metadata=None)
    found = await spoken(api, conversation)
    assert (found["status"], found["model"], found["token_usage"]) == (status, None, None)


async def test_a_missing_half_of_the_usage_counts_as_zero(api):
    run, path = await api.agent_run()
    await api.complete(run["run_id"], metadata={"outputTokens": 4})
    found = await spoken(api, path.rpartition("/runs/")[0])
    assert found["token_usage"] == {"input": 0, "output": 4}


async def test_messages_of_users_and_runs_have_the_order_of_their_creation(api, conversation):
    where = conversation.rpartition("/")[2]
    await add(api, conversation)
    await api.create(api.agent(where))
    await add(api, conversation)
    found = (await messages(api, conversation))["data"]
    assert [(one["seq"], one["role"]) for one in found] == [(1, "user"), (2, "assistant"), (3, "user")]


async def test_a_projected_message_is_cached(driver):
    run, path = await driver.agent_run()
    conversation = path.rpartition("/runs/")[0]
    await driver.append(run["run_id"], *SPEECH)
    first = await spoken(driver, conversation)

    async def no_reading(*_):
        raise AssertionError("the log was read")

    read, driver.store.runs.events = driver.store.runs.events, no_reading
    assert await spoken(driver, conversation) == first
    driver.store.runs.events = read
    await driver.append(run["run_id"], {"type": "TEXT_MESSAGE_CONTENT", "messageId": "n", "delta": "More"})
    assert (await spoken(driver, conversation))["parts"][-1] == {"type": "text", "text": "More"}


async def test_the_cache_of_projections_is_bounded(driver, monkeypatch):
    monkeypatch.setattr(limits, "message_cache_bytes_max", 2_500)
    conversation = await driver.conversation()
    for number in range(5):
        run = await driver.create(driver.agent(conversation, public_id=f"run-{number}"))
        await driver.append(
            run["run_id"], {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x" * 1_000}
        )
    found = (await messages(driver, f"/conversations/{conversation}"))["data"]
    assert [len(one["parts"][0]["text"]) for one in found] == [1_000] * 5
    assert 1_000 < driver.app.projections.cached_bytes <= 2_500


async def test_a_page_ends_when_it_has_read_enough(api, monkeypatch):
    monkeypatch.setattr(limits, "message_page_bytes_max", 3_000)
    conversation = await api.conversation()
    for number in range(4):
        run = await api.create(api.agent(conversation, public_id=f"run-{number}"))
        await api.append(run["run_id"], {"type": "CUSTOM", "value": "x" * 2_000})
    sizes, cursor = [], None
    while True:
        page = await messages(api, f"/conversations/{conversation}", **({"cursor": cursor} if cursor else {}))
        sizes.append(len(page["data"]))
        cursor = page["page_info"]["next"]
        if cursor is None:
            break
    assert sizes == [2, 2], "events that show nothing are read all the same"


async def test_a_page_of_large_user_messages_is_shorter(api, conversation, monkeypatch):
    monkeypatch.setattr(limits, "message_page_bytes_max", 3_000)
    for _ in range(3):
        await add(api, conversation, parts=[{"type": "text", "text": "x" * 2_000}])
    first = await messages(api, conversation)
    assert (len(first["data"]), first["page_info"]["next"]) == (1, "1")
    last = await messages(api, conversation, cursor="2")
    assert (len(last["data"]), last["page_info"]["next"]) == (1, None)


async def test_a_message_of_a_very_long_log_is_truncated_and_marked(driver, monkeypatch):
    monkeypatch.setattr(limits, "message_projection_bytes_max", 50_000)
    monkeypatch.setattr(limits, "event_page_bytes_max", 10_000)
    run, path = await driver.agent_run()
    piece = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x" * 1_000}
    await driver.append(run["run_id"], *[piece] * 100)
    found = await spoken(driver, path.rpartition("/runs/")[0])
    assert found["truncated"] is True
    assert 40_000 < len(found["parts"][0]["text"]) < 60_000


async def test_private_events_are_in_no_message(api):
    _, path = await api.agent_run()
    private = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "text": "hidden"}
    await api.post(f"{path}/events", {"events": [private], "expected_previous_event_id": 0})
    assert (await spoken(api, path.rpartition("/runs/")[0]))["parts"] == []


async def test_a_message_stays_the_same_after_retention_deleted_its_run(api):
    run, _ = await api.agent_run()
    delta = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "t", "delta": "Good morning"}
    await api.append(run["run_id"], delta)
    metadata = {"model": "m-1", "inputTokens": 3, "outputTokens": 4, "finishReason": "stop"}
    await api.complete(run["run_id"], metadata=metadata)
    conversation = f"/conversations/{run['owner']['id']}"
    before = await messages(api, conversation)
    assert before["data"][-1]["parts"] == [{"type": "text", "text": "Good morning"}]
    api.clock.advance(86_401)
    assert await RetentionLoop(api.app, 86_400_000).retire() == 1
    await api.refused(404, "NOT_FOUND", "GET", f"/runs/{run['run_id']}")
    assert await messages(api, conversation) == before
