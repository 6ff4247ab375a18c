"""Conversations, messages and input requests in the SDK: requests and answers."""

import json

import httpx2
import pytest
from msgspec import UNSET

from runstead.sdk import Calls, Client, RunsteadError

SECRET = "hunter2"
TIME = "2026-03-20T12:00:00.000Z"
CONVERSATION = {"id": "c", "type": "chat", "status": "active", "created_at": TIME, "updated_at": TIME}
MESSAGE = {"id": "m", "conversation_id": "c", "seq": 1, "role": "assistant", "status": "completed"}
MESSAGE |= {"created_at": TIME, "updated_at": TIME, "token_usage": {"input": 1, "output": 2}, "later": 1}
MESSAGE["parts"] = [{"type": "text", "text": "Hel"}, {"type": "tool_call"}, {"type": "text", "text": "lo"}]
REQUEST = {"id": "i", "conversation_id": "c", "run_id": "r", "tool_call_id": "t", "kind": "form"}
REQUEST |= {"status": "open", "requested_responder_type": "human", "title": "T", "fields": []}
REQUEST["created_at"] = TIME


@pytest.fixture
def scripted(kit):
    def make(*outcomes):
        script = kit.Script(*outcomes)
        return Client("http://server", "key", transport=httpx2.MockTransport(script), retries=0), script

    return make


def sent(request):
    body = json.loads(request.content) if request.content else None
    return request.method, str(request.url.raw_path, "ascii"), body


def test_members_left_out_of_a_change_are_not_sent(scripted):
    client, script = scripted(*[httpx2.Response(200, json=CONVERSATION)] * 2)
    client.conversations.update("c", title=None, status="archived")
    client.conversations.delete("c")
    assert [sent(request) for request in script.requests] == [
        ("PATCH", "/conversations/c", {"title": None, "status": "archived"}),
        ("DELETE", "/conversations/c", None),
    ]
    assert Calls().conversations.update("c", summary=UNSET).body == {}


def test_a_text_is_a_message_of_one_part_with_its_own_key(scripted):
    client, script = scripted(httpx2.Response(201, json=MESSAGE))
    message = client.messages.add("c", "Hello", metadata={"a": 1})
    method, path, body = sent(script.requests[0])
    assert (method, path, body["role"]) == ("POST", "/conversations/c/messages", "user")
    assert (body["parts"], body["metadata"]) == ([{"type": "text", "text": "Hello"}], {"a": 1})
    assert body["idempotency_key"]
    assert (message.text, message.token_usage.output) == ("Hello", 2)


def test_lists_take_their_cursor_and_filters(scripted):
    info = {"self": None, "first": None, "next": "7", "prev": None}
    client, script = scripted(
        httpx2.Response(200, json={"data": [CONVERSATION], "page_info": info}),
        httpx2.Response(200, json={"conversation_id": "c", "data": [MESSAGE], "page_info": info}),
        httpx2.Response(200, json={"data": [REQUEST], "page_info": info}),
    )
    assert client.conversations.list(project_id="shop", status="active").page_info.next == "7"
    assert client.messages.list("c", cursor="3", limit=2).data[0].seq == 1
    assert client.input_requests.list("c", status="open").data[0].latest_response is None
    assert [sent(request)[1] for request in script.requests] == [
        "/conversations?project_id=shop&status=active",
        "/conversations/c/messages?cursor=3&limit=2",
        "/conversations/c/input-requests?status=open",
    ]


def test_a_worker_creates_input_requests_with_its_fence(scripted):
    client, script = scripted(httpx2.Response(201, json=REQUEST))
    field = {"name": "n", "label": "N", "type": "text"}
    client.input_requests.create("c", "r", "t", "T", [field], attempt=2, lease_token="lease")
    assert script.requests[0].headers["X-Lease-Token"] == "lease"
    _, path, body = sent(script.requests[0])
    assert path == "/conversations/c/input-requests"
    assert (body["kind"], body["requested_responder_type"], body["attempt"]) == ("form", "human", 2)


def test_a_response_carries_no_idempotency_key_and_shows_its_values_nowhere(scripted):
    problem = {"status": 400, "detail": "no", "code": "INVALID_REQUEST"}
    client, script = scripted(httpx2.Response(201, json=REQUEST), httpx2.Response(400, json=problem))
    client.input_requests.respond("c", "i", {"password": SECRET})
    assert "Idempotency-Key" not in script.requests[0].headers
    assert sent(script.requests[0])[1] == "/conversations/c/input-requests/i/responses"
    assert SECRET not in repr(Calls().input_requests.respond("c", "i", {"password": SECRET}))
    with pytest.raises(RunsteadError) as caught:
        client.input_requests.respond("c", "i", {"password": SECRET})
    assert SECRET not in repr(caught.value) + str(caught.value)
    client, script = scripted(httpx2.Response(200, json=REQUEST), httpx2.Response(200, json=REQUEST))
    assert client.input_requests.get("c", "i") == client.input_requests.cancel("c", "i")
    assert [sent(request)[:2] for request in script.requests] == [
        ("GET", "/conversations/c/input-requests/i"),
        ("POST", "/conversations/c/input-requests/i/cancel"),
    ]
