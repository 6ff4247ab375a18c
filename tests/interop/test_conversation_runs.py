"""`veryfront/agent`: agent runs in a conversation. The host of an agent creates, follows and ends them."""

import pytest


@pytest.fixture(scope="module")
def facts(drive):
    return drive("conversation_run")


@pytest.fixture(scope="module")
def projection(api, facts):
    return lambda run_id: api.get(f"/conversations/{facts['conversation']['id']}/runs/{run_id}")


def test_a_conversation_is_created_in_its_project(facts, api):
    conversation = api.get(f"/conversations/{facts['conversation']['id']}")
    assert (conversation["type"], conversation["title"]) == ("agent_task", "Greetings")
    assert conversation["metadata"] == {"source": "test"}
    assert (
        facts["conversation"] == facts["record"] == {"id": conversation["id"], "projectId": api.project_id()}
    )


def test_an_unknown_conversation_is_a_404(facts):
    assert facts["missing"].startswith("Fetch conversation failed (404)")


def test_an_agent_run_that_its_host_drives_runs_at_once(facts, projection):
    run = facts["created"]["running"]
    assert (run["runId"], run["status"], run["latestEventId"]) == ("run-hosted", "running", 0)
    assert run["messageId"] == projection("run-hosted")["message_id"]
    assert projection("run-hosted")["source_target_kind"] == "project"
    assert projection("run-hosted")["runtime_target_kind"] == "main_branch"


def test_an_agent_run_for_a_worker_waits_for_it(facts, projection):
    assert facts["created"]["forWorker"]["status"] == "pending"
    assert projection("run-for-worker")["implementation_kind"] == "claude-code"


def test_an_agent_run_keeps_its_branch(facts, projection):
    run = projection(facts["created"]["onBranch"]["runId"])
    assert run["source_target_kind"] == run["runtime_target_kind"] == "preview_branch"
    assert run["source_target_branch_id"] == run["runtime_target_branch_id"]


def test_an_agent_run_without_a_project_of_its_own_has_no_target(facts, projection):
    run = projection(facts["created"]["personal"]["runId"])
    assert (run["source_target_kind"], run["runtime_target_kind"]) == (None, None)


def test_an_agent_run_may_have_a_parent_and_a_name_of_the_client_s_own(facts, api):
    assert api.run(facts["created"]["child"]["runId"])["parent_run_id"] == "run-hosted"
    assert facts["created"]["named"]["runId"].startswith("run_")


def test_events_too_large_for_one_are_appended_in_pieces(facts, api):
    assert facts["appended"]["appendedCount"] == facts["appended"]["latestEventId"] == 3
    deltas = [event["payload"].get("delta", "") for event in api.events("run-hosted")]
    assert "".join(deltas) == "x" * 300 * 1024


def test_a_completed_run_keeps_its_usage(facts, api):
    run = api.run("run-hosted")
    assert (run["status"], run["error"], facts["hosted"]["status"]) == ("completed", None, "completed")
    assert run["metadata"] == {
        "provider": "anthropic",
        "model": "claude-opus",
        "inputTokens": 12,
        "outputTokens": 34,
        "finishReason": "stop",
    }


def test_a_run_that_its_host_ends_as_failed_says_why(facts, api, projection):
    assert api.run("run-for-worker")["error"] == {"message": "Too slow", "code": "TIMED_OUT"}
    run = projection("run-for-worker")
    assert (run["status"], run["terminal_error_code"]) == ("failed", "TIMED_OUT")


def test_a_cancelled_run_stays_cancelled(facts, api):
    run = api.run("run-on-branch")
    assert (run["status"], run["error"]["code"], run["metadata"]) == ("cancelled", "USER", None)


def test_an_append_to_an_ended_run_is_one_that_the_client_may_ignore(facts):
    assert facts["late"] == {
        "isItsOwn": True,
        "ignorable": True,
        "status": 400,
        "detail": "Cannot append external events to a terminal run",
    }


def test_a_host_that_watches_its_run_sees_it_cancelled(facts, api):
    run_id = facts["created"]["named"]["runId"]
    error = {"name": "ConversationRunTerminalStateError", "status": "cancelled", "runId": run_id}
    assert facts["terminal"] == [error]
    assert facts["polls"] >= 3
    assert api.run(run_id)["status"] == "cancelled"
