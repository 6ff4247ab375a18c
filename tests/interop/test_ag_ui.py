"""`@ag-ui/core` and `@ag-ui/client` 1.x: streams of runs are streams of AG-UI events."""

import pytest

CALL = {"toolCallId": "c1"}
EVERY_TYPE = [
    {"type": "STEP_STARTED", "stepName": "think"},
    {"type": "REASONING_START", "messageId": "r1"},
    {"type": "REASONING_MESSAGE_START", "messageId": "r1", "role": "reasoning"},
    {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r1", "delta": "Who is it?"},
    {"type": "REASONING_MESSAGE_END", "messageId": "r1"},
    {"type": "REASONING_END", "messageId": "r1"},
    {"type": "STEP_FINISHED", "stepName": "think"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hello, "},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Ada é 🌍\n"},
    {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
    {"type": "TOOL_CALL_START", **CALL, "toolCallName": "lookup", "parentMessageId": "m1"},
    {"type": "TOOL_CALL_ARGS", **CALL, "delta": '{"name":"Ada"}'},
    {"type": "TOOL_CALL_END", **CALL},
    {"type": "TOOL_CALL_RESULT", **CALL, "messageId": "t1", "content": "found", "role": "tool"},
    {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m2", "role": "assistant", "delta": "Bye"},
    {"type": "TOOL_CALL_CHUNK", "toolCallId": "c2", "toolCallName": "wave", "delta": "{}"},
    {"type": "STATE_SNAPSHOT", "snapshot": {"greeted": []}},
    {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/greeted/-", "value": "Ada"}]},
    {"type": "CUSTOM", "name": "note", "value": {"any": ["thing", None]}},
]
CONTEXT = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "context": "x" * 1000}


@pytest.fixture(scope="module")
def conversation(api):
    return api.post("/conversations", {"project_id": api.project_id()})["id"]


@pytest.fixture(scope="module")
def agent_run(api, conversation):
    """Creates an agent run that has started, and returns its id."""

    def create(run_id):
        owner = {"kind": "conversation", "id": conversation}
        request = {"agent_id": "greeter", "initial_status": "running"}
        api.post("/runs", {"kind": "agent", "owner": owner, "public_id": run_id, "request": request})
        api.append(run_id, [{"type": "RUN_STARTED", "threadId": conversation, "runId": run_id}])
        return run_id

    return create


@pytest.fixture(scope="module")
def greeting(api, agent_run):
    """A run with every type of event, also private ones, and a tool result from a client."""
    run_id = agent_run("greeting")
    api.append(run_id, EVERY_TYPE)
    latest = api.run(run_id)["latest_event_id"]
    api.append(run_id, [CONTEXT], expected_previous_event_id=latest)
    api.append(run_id, [{"type": "TOOL_CALL_START", "toolCallId": "c3", "toolCallName": "ask"}])
    api.append(run_id, [{"type": "TOOL_CALL_END", "toolCallId": "c3"}])
    api.post(f"/runs/{run_id}/wait", {"reason": "tool", "tool_call_id": "c3", "tool_name": "ask"})
    answer = {"type": "tool_result", "tool_call_id": "c3", "result": {"colour": "blue"}}
    api.post(f"/runs/{run_id}/resume", answer)
    api.complete(run_id, metadata={"model": "opus", "inputTokens": 3})
    return run_id


@pytest.fixture(scope="module")
def failing(api, agent_run):
    """A run that waits for an approval, gets it, and fails."""
    run_id = agent_run("failing")
    api.post(f"/runs/{run_id}/wait", {"reason": "approval"})
    api.post(f"/runs/{run_id}/resume", {"type": "approval", "result": True})
    api.complete(run_id, "failed", terminal_error_code="BROKEN", terminal_error_message="It broke")
    return run_id


@pytest.fixture(scope="module")
def streams(api, greeting, failing, conversation):
    """The paths of the checked streams: of every kind of run, and of each outcome."""
    api.create(api.project_id(), "task:plain", public_id="plain")
    api.complete("plain", output=[1])
    api.create(api.project_id(), "task:cancelled", public_id="cancelled")
    api.post("/runs/cancelled/cancel")
    runs = (greeting, failing, "plain", "cancelled")
    return [f"/runs/{run}/stream" for run in runs] + [f"/conversations/{conversation}/runs/{greeting}/stream"]


@pytest.fixture(scope="module")
def facts(drive, streams, conversation, greeting):
    return drive(
        "ag_ui_events", streams=streams, snapshot=f"/conversations/{conversation}/runs/{greeting}/snapshot"
    )


def test_every_event_of_every_stream_is_one_of_ag_ui_s(facts, streams):
    assert list(facts["streams"]) == streams
    for path, stream in facts["streams"].items():
        assert stream["refused"] == [], path
        assert stream["ended"], path
        assert stream["type"].startswith("text/event-stream")


def test_every_type_that_a_run_may_show_was_looked_at(facts, greeting):
    seen = {kind for stream in facts["streams"].values() for kind in stream["types"]}
    assert seen == {event["type"] for event in EVERY_TYPE} | {"RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"}
    assert seen <= set(facts["known"])


def test_a_frame_is_named_after_its_event(facts, greeting):
    stream = facts["streams"][f"/runs/{greeting}/stream"]
    names = ["".join(word.capitalize() for word in kind.split("_")) for kind in stream["types"]]
    assert stream["names"] == names


def test_a_stream_shows_the_public_events_of_the_log_in_order(facts, api, greeting, conversation):
    logged = [event["event_id"] for event in api.events(greeting)]
    assert facts["streams"][f"/runs/{greeting}/stream"]["ids"] == logged
    assert facts["streams"][f"/conversations/{conversation}/runs/{greeting}/stream"]["ids"] == logged
    assert len(logged) == api.run(greeting)["latest_event_id"] - 1  # the private one is not shown


def test_a_snapshot_is_made_of_ag_ui_s_events(facts):
    assert facts["snapshot"]["types"] == ["MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert facts["snapshot"]["refused"] == []


@pytest.fixture(scope="module")
def client(drive, api, agent_run, failing):
    """The facts of `@ag-ui/client` about a run that emits a greeting."""
    run_id = agent_run("for-the-client")
    api.append(run_id, EVERY_TYPE)
    api.complete(run_id)
    return drive("ag_ui_client", runId=run_id, failing=failing)


def test_the_transport_of_the_ag_ui_client_reads_the_stream(client, api):
    assert client["events"] == [event["event_type"] for event in api.events("for-the-client")]


def test_an_agent_of_the_ag_ui_client_follows_a_run(client):
    assert client["heard"][0] == "RUN_STARTED"
    assert client["heard"][-1] == "RUN_FINISHED"
    assert client["state"] == {"greeted": ["Ada"]}


def test_it_builds_the_message_that_the_server_builds(client, api, conversation):
    said = "".join(m["content"] for m in client["messages"] if m["role"] == "assistant" and m.get("content"))
    snapshot = api.get(f"/conversations/{conversation}/runs/for-the-client/snapshot")["events"]
    (message,) = snapshot[0]["event"]["messages"]
    assert said == message["content"] == "Hello, Ada é 🌍\nBye"
    (call,) = [call for m in client["messages"] for call in m.get("toolCalls", []) if call["id"] == "c1"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("lookup", '{"name":"Ada"}')


def test_it_hears_why_a_run_failed(client):
    assert client["errors"] == [["It broke", "BROKEN"]]


def test_it_hears_that_a_run_does_not_exist(client):
    assert client["missing"] == 404


def test_a_follower_that_reconnects_sees_every_event_exactly_once(start, api, agent_run, conversation):
    run_id = agent_run("followed")
    path = f"/conversations/{conversation}/runs/{run_id}/stream"
    follower = start("follower", path=path, cuts=[1, 7, 2, 40, 13])
    follower.until("open")
    for batch in range(60):
        numbers = range(10 * batch, 10 * batch + 10)
        api.append(run_id, [{"type": "CUSTOM", "name": "note", "value": number} for number in numbers])
        if batch % 10 == 0:
            latest = api.run(run_id)["latest_event_id"]
            api.append(run_id, [CONTEXT], expected_previous_event_id=latest)
    api.complete(run_id)
    facts = follower.facts()
    assert facts["ids"] == [event["event_id"] for event in api.events(run_id)]
    assert facts["values"] == [None, *range(600), None]
    assert facts["connections"] > 20
