"""Contract A4 on the conversation's own routes, as published clients use them."""

import json

import pytest

pytestmark = pytest.mark.postgres

A, B, C, D = ({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": letter} for letter in "abcd")
PRIVATE = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "prompt": "secret"}
MISMATCH = "External run event cursor mismatch"
MIB = 1 << 20


@pytest.fixture
async def events(api):
    """Return the path of an agent run's events in its conversation."""
    _, path = await api.agent_run(request={"initial_status": "running"})
    return f"{path}/events"


def batch(*events, after=None, sequence=None):
    body = {"events": list(events)}
    if after is not None:
        body["expected_previous_event_id"] = after
    if sequence is not None:
        body["expected_previous_external_event_sequence"] = sequence
    return body


async def mismatch(api, path, body):
    problem = await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", path, body)
    assert problem["detail"] == MISMATCH


async def test_a_repeated_append_is_recognized_whole_and_in_part(api, events):
    first = batch(A, B, after=0, sequence=0)
    answers = [await api.post(events, first) for _ in range(2)]
    assert [answer["appended_count"] for answer in answers] == [2, 0]
    assert [answer["latest_event_id"] for answer in answers] == [2, 2]
    assert answers[0]["run"] == answers[1]["run"]
    rest = await api.post(events, batch(A, B, C, after=0))
    assert (rest["appended_count"], rest["latest_external_event_sequence"]) == (1, 3)
    for wrong in (batch(D, after=0), batch(A, B, C, D, after=9), batch(B, after=0), batch(D, sequence=0)):
        await mismatch(api, events, wrong)
    await mismatch(api, events, batch(D, after=3, sequence=2))
    assert (await api.post(events, batch(D, after=3, sequence=3)))["appended_count"] == 1
    assert [one["event"]["delta"] for one in (await api.get(events))["data"]] == list("abcd")


async def test_a_repeated_append_with_private_events_is_recognized(api, events):
    mixed = batch(A, PRIVATE, B, after=0, sequence=0)
    for count in (3, 0):
        answer = await api.post(events, mixed)
        assert (answer["appended_count"], answer["latest_event_id"]) == (count, 3)
        assert answer["latest_external_event_sequence"] == 2
    longer = batch(A, PRIVATE, B, PRIVATE, C, after=0)
    assert (await api.post(events, longer))["appended_count"] == 2


async def test_pages_of_a_conversations_run_continue_by_event_id(api, events):
    await api.post(events, batch(A, PRIVATE, B, C, after=0))
    page = await api.get(f"{events}?limit=1")
    assert page["page_info"] == {"self": "0", "first": None, "next": "1", "prev": None}
    page = await api.get(f"{events}?limit=2&after_event_id=1")
    assert [(one["event_id"], one["event"]) for one in page["data"]] == [(3, B), (4, C)]
    assert page["page_info"] == {"self": "1", "first": None, "next": None, "prev": None}


async def test_a_whole_request_may_have_ten_mib(api, events):
    body = json.dumps(batch(*[{"type": "A", "x": "x" * 261_000}] * 40)).encode()
    assert 9 * MIB < len(body) < 10 * MIB
    whole = body + b" " * (10 * MIB - len(body))
    await api.refused(413, "BODY_TOO_LARGE", "POST", events, whole + b" ")
    assert (await api.get(events))["data"] == []
    assert (await api.post(events, whole))["appended_count"] == 40


async def test_the_first_append_to_a_pending_run_adds_run_started(api):
    _, path = await api.agent_run()
    begun = {"type": "RUN_STARTED", "runId": "r", "threadId": "t"}
    assert (await api.post(f"{path}/events", batch(begun, after=0)))["run"]["status"] == "running"
    assert [one["event"] for one in (await api.get(f"{path}/events"))["data"]] == [begun]
