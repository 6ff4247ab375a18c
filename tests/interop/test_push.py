"""`veryfront/agent`: a push service made of the SDK's own parts registers, gets runs, and is told of a cancel."""

import pytest

SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}  # the service is on this machine


@pytest.fixture(scope="module")
def told(drive):
    return drive("push")


def posted(told, run_id):
    """The bodies with which a run was sent to the service."""
    calls = [call for call in told["calls"] if call["method"] == "POST"]
    return [call["body"] for call in calls if call["body"]["durableRootRun"]["runId"] == run_id]


def test_a_service_is_registered_once_by_its_key(told, api):
    service = told["service"]
    assert (service["service_name"], service["scope_kind"]) == ("echo", "project")
    assert (service["project_id"], service["status"]) == (api.project_id(), "active")
    assert service["invoke_url"] == f"{service['base_url']}/api/runs"
    assert (service["version"], service["runtime"]) == ("1.2.3", "node")
    assert told["again"] == service["id"]
    assert [one["id"] for one in api.get("/agent-runtimes/push-services")["data"]] == [service["id"]]


def test_a_service_is_heard_of_by_its_heartbeats(told, api):
    service = api.get(f"/agent-runtimes/push-services/{told['service']['id']}")["service"]
    assert service["last_heartbeat_at"] > told["service"]["last_heartbeat_at"]
    assert told["warnings"] == []


def test_a_started_run_is_sent_to_the_service_in_the_form_that_the_sdk_takes(told, api):
    (body,) = posted(told, "run-echo")
    assert body["context"]["conversationId"] == told["conversationId"]
    assert body["context"]["projectId"] == api.project_id()
    root = body["durableRootRun"]
    assert (root["messageId"], root["latestEventId"]) == (told["echoed"]["messageId"], 0)
    assert body["messages"][0]["parts"] == [{"type": "text", "text": "Hello"}]
    assert {call["status"] for call in told["calls"]} == {202}


def test_the_service_appends_with_its_token_and_completes_the_run(told, api):
    assert told["echoed"]["status"] == "completed"
    events = api.events("run-echo")
    assert [event["event_type"] for event in events] == [
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[1]["payload"]["delta"] == "You said: Hello"


def test_a_service_that_fails_fails_the_run(told, api):
    assert told["broken"]["terminalErrorMessage"] == "It broke"
    assert api.run("run-broken")["status"] == "failed"


def test_a_cancel_reaches_the_service_that_works_on_the_run(told, api):
    assert told["stopped"] == ["run-long"]
    assert [call["path"] for call in told["calls"] if call["method"] == "DELETE"] == ["/api/runs/run-long"]
    assert api.run("run-long")["status"] == "cancelled"
