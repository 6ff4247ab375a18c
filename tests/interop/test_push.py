"""`veryfront/agent`: a push service made of the SDK's own parts registers, gets runs, and gets a cancel."""

import pytest

SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}  # the service is on this machine


@pytest.fixture(scope="module")
def facts(drive):
    return drive("push")


def posted(facts, run_id):
    """Return the bodies of the requests that sent a run to the service."""
    calls = [call for call in facts["calls"] if call["method"] == "POST"]
    return [call["body"] for call in calls if call["body"]["durableRootRun"]["runId"] == run_id]


def test_a_service_is_registered_once_by_its_key(facts, api):
    service = facts["service"]
    assert (service["service_name"], service["scope_kind"]) == ("echo", "project")
    assert (service["project_id"], service["status"]) == (api.project_id(), "active")
    assert service["invoke_url"] == f"{service['base_url']}/api/runs"
    assert (service["version"], service["runtime"]) == ("1.2.3", "node")
    assert facts["again"] == service["id"]
    assert [one["id"] for one in api.get("/agent-runtimes/push-services")["data"]] == [service["id"]]


def test_a_service_is_heard_of_by_its_heartbeats(facts, api):
    service = api.get(f"/agent-runtimes/push-services/{facts['service']['id']}")["service"]
    assert service["last_heartbeat_at"] > facts["service"]["last_heartbeat_at"]
    assert facts["warnings"] == []


def test_a_started_run_is_sent_to_the_service_in_the_form_that_the_sdk_takes(facts, api):
    (body,) = posted(facts, "run-echo")
    assert body["context"]["conversationId"] == facts["conversationId"]
    assert body["context"]["projectId"] == api.project_id()
    root = body["durableRootRun"]
    assert (root["messageId"], root["latestEventId"]) == (facts["echoed"]["messageId"], 0)
    assert body["messages"][0]["parts"] == [{"type": "text", "text": "Hello"}]
    assert {call["status"] for call in facts["calls"]} == {202}


def test_the_service_appends_with_its_token_and_completes_the_run(facts, api):
    assert facts["echoed"]["status"] == "completed"
    events = api.events("run-echo")
    assert [event["event_type"] for event in events] == [
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[1]["payload"]["delta"] == "You said: Hello"


def test_a_service_that_fails_fails_the_run(facts, api):
    assert facts["broken"]["terminalErrorMessage"] == "It broke"
    assert api.run("run-broken")["status"] == "failed"


def test_a_cancel_reaches_the_service_that_works_on_the_run(facts, api):
    assert facts["stopped"] == ["run-long"]
    assert [call["path"] for call in facts["calls"] if call["method"] == "DELETE"] == ["/api/runs/run-long"]
    assert api.run("run-long")["status"] == "cancelled"
