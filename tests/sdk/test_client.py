import json
import pickle
import traceback
from datetime import UTC, datetime

import httpx2
import pytest

from runstead.sdk import AsyncClient, Calls, Client, RunsteadError, UnexpectedAnswerError
from runstead.sdk.models.lease import Registration

PROJECT = {"id": "11111111-1111-4111-8111-111111111111", "slug": "shop", "name": "Shop"}


@pytest.fixture
def scripted(kit):
    def make(*outcomes, key="vf_abc_secret", project="shop"):
        script = kit.Script(*outcomes)
        transport = httpx2.MockTransport(script)
        return Client("http://server/", key, project=project, transport=transport, retries=0), script

    return make


def test_a_run_is_typed_and_unknown_members_are_dropped(scripted, kit):
    body = kit.run_body("a", "failed", error={"message": "no", "code": "X"}, invented=1, labels={"team": "b"})
    client, script = scripted(httpx2.Response(200, json=body))
    run = client.runs.get("a")
    assert run.created_at == datetime(2026, 3, 20, 12, tzinfo=UTC)
    assert (run.terminal, run.error.code, run.labels, run.output) == (True, "X", {"team": "b"}, None)
    assert script.requests[0].headers["Authorization"] == "Bearer vf_abc_secret"
    assert script.requests[0].headers["Content-Type"] == "application/json"


def test_a_project_slug_is_resolved_once_and_owns_the_run(scripted, kit):
    made = {"accepted": True, "run": kit.run_body("a"), "duplicate": True}
    client, script = scripted(httpx2.Response(200, json=PROJECT), *[httpx2.Response(202, json=made)] * 2)
    made = client.runs.create(
        "task:t", config={"n": 1}, id="a", labels={"k": "v"}, runtime_target_kind="main_branch"
    )
    client.runs.create("workflow:w", input=[1])
    assert made.duplicate
    assert [request.url.path for request in script.requests] == ["/projects/shop", "/runs", "/runs"]
    assert json.loads(script.requests[1].content) == {
        "kind": "task",
        "owner": {"kind": "project", "id": PROJECT["id"]},
        "public_id": "a",
        "labels": {"k": "v"},
        "request": {"target": "task:t", "config": {"n": 1}, "runtime_target_kind": "main_branch"},
    }
    assert json.loads(script.requests[2].content)["request"] == {
        "workflow_id": "w",
        "target": "workflow:w",
        "input": [1],
    }


def test_an_agent_run_belongs_to_its_conversation(scripted, kit):
    client, script = scripted(httpx2.Response(202, json={"accepted": True, "run": kit.run_body("a")}))
    client.runs.create(
        "agent:helper", conversation_id="c", implementation_kind="python", input={"messages": []}
    )
    assert json.loads(script.requests[0].content) == {
        "kind": "agent",
        "owner": {"kind": "conversation", "id": "c"},
        "request": {
            "mode": "agent",
            "agent_id": "helper",
            "implementation_kind": "python",
            "input": {"messages": []},
        },
    }


def test_a_worker_write_carries_its_fence(scripted, kit):
    done = {"completed": True, "run": kit.run_body("a", "completed")}
    client, script = scripted(httpx2.Response(200, json=done))
    assert client.runs.complete("a", output={"n": 1}, attempt=2, lease_token="t").completed
    assert script.requests[0].headers["X-Lease-Token"] == "t"
    assert json.loads(script.requests[0].content) == {"status": "completed", "output": {"n": 1}, "attempt": 2}


def test_ids_are_quoted_completely(scripted, kit):
    client, script = scripted(*[httpx2.Response(200, json=kit.run_body("x"))] * 3)
    for run_id in ("a b?c#d", "task:é", ".."):
        client.runs.get(run_id)
    assert [request.url.raw_path for request in script.requests] == [
        b"/runs/a%20b%3Fc%23d",
        b"/runs/task:%C3%A9",
        b"/runs/%2E%2E",
    ]


def test_filters_become_query_parameters(scripted):
    client, script = scripted(httpx2.Response(200, json={"data": [], "page_info": {}}))
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    client.runs.list(status=["failed", "cancelled"], root_only=True, label="team:b", created_after=at)
    assert script.requests[0].url.query == (
        b"status=failed&status=cancelled&root_only=true&label=team%3Ab&created_after=2026-01-02T03%3A04%3A05.678Z"
    )


def test_every_run_of_a_project_is_iterated_page_by_page(scripted, kit):
    def page(ids, following):
        info = {"self": None, "first": None, "next": following, "prev": None}
        return httpx2.Response(200, json={"data": [kit.run_body(i) for i in ids], "page_info": info})

    client, script = scripted(page("ab", "x=1"), page("", "y"), page("c", None))
    assert [run.run_id for run in client.runs.iter(kind="task", limit=2)] == ["a", "b", "c"]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "x=1", "y"]
    assert all(request.url.params["kind"] == "task" for request in script.requests)


def test_every_stored_event_is_iterated_under_a_conversation_too(scripted):
    def page(numbers, following):
        data = [{"event_id": n, "event_type": "CUSTOM", "event": {"type": "CUSTOM"}} for n in numbers]
        return httpx2.Response(200, json={"data": data, "page_info": {"next": following}})

    client, script = scripted(page([3, 4], "4"), page([5], None))
    events = list(client.events.iter("r", conversation_id="c", after_event_id=2))
    assert [(event.event_id, event.payload["type"]) for event in events] == [(n, "CUSTOM") for n in (3, 4, 5)]
    assert [request.url.params["after_event_id"] for request in script.requests] == ["2", "4"]


def test_an_error_has_code_detail_and_the_refused_values(scripted):
    problem = {
        "detail": "Expected int at $.limit",
        "code": "INVALID_REQUEST",
        "errors": [{"path": "$.limit", "message": "Expected int"}],
    }
    client, _ = scripted(httpx2.Response(400, json=problem))
    with pytest.raises(RunsteadError) as caught:
        client.runs.get("a")
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == "Expected int at $.limit (INVALID_REQUEST, HTTP 400)"
    assert [(one.path, one.message) for one in error.errors] == [("$.limit", "Expected int")]


def test_a_proxys_page_is_an_error_without_a_code(scripted):
    client, _ = scripted(httpx2.Response(502, text="<html>\xff"))
    with pytest.raises(RunsteadError, match="GET /runs/a was answered with status 502") as caught:
        client.runs.get("a")
    assert caught.value.code is None


def test_an_answer_of_another_shape_is_an_unexpected_answer_error(scripted):
    client, _ = scripted(httpx2.Response(200, json={"run_id": 3}))
    with pytest.raises(UnexpectedAnswerError, match="was not understood"):
        client.runs.get("a")


@pytest.mark.parametrize("outcome", [httpx2.ConnectError("refused"), httpx2.Response(401)])
def test_no_credential_is_in_a_repr_or_an_exception(scripted, outcome):
    client, _ = scripted(outcome)
    with pytest.raises(RunsteadError) as caught:
        client.runs.get("a")
    text_of_traceback = "".join(traceback.format_exception(caught.value, chain=True))
    worker = {"id": "w", "project_id": "p", "implementation_kind": "k", "worker_key": "k", "status": "active"}
    registration = Registration(worker=worker, token="vfw_secret")
    call = Calls().runs.complete("a", lease_token="vfl_secret")
    for text in (
        text_of_traceback,
        repr(caught.value),
        repr(client),
        repr(vars(client)),
        repr(registration),
        repr(call),
    ):
        assert "secret" not in text
    assert caught.value.__context__ is None


def test_another_key_goes_over_the_same_connections(scripted, kit):
    client, script = scripted(*[httpx2.Response(200, json=kit.run_body("a"))] * 3)
    keys = iter(["first", "second"])
    with client.with_key(lambda: next(keys)) as other:
        other.runs.get("a")
        other.runs.get("a")
    client.runs.get("a")
    sent = [request.headers["Authorization"] for request in script.requests]
    assert sent == ["Bearer first", "Bearer second", "Bearer vf_abc_secret"]


def test_a_call_without_a_project_is_refused(scripted):
    client, _ = scripted(project=None)
    with pytest.raises(ValueError, match="needs a project"):
        client.runs.create("task:t")


def test_methods_show_their_description():
    assert "POST /runs/{run_id}/complete" in Client("http://server").runs.complete.__doc__
    assert "POST /runs/{run_id}/complete" in AsyncClient("http://server").runs.complete.__doc__


async def test_the_async_client_calls_an_asgi_app(kit):
    async def app(scope, receive, send):
        body = json.dumps(kit.run_body(scope["path"].rpartition("/")[2])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    transport = httpx2.ASGITransport(app)
    async with AsyncClient("http://server", "key", project="shop", transport=transport) as client:
        assert (await client.runs.get("a")).run_id == "a"
        assert (await client.request(Calls().runs.get("b"))).run_id == "b"
