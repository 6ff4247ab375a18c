"""`veryfront/eval/agent-service`: the SDK's own canaries of durable runs pass."""

import pytest

SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}  # the service is on this machine


@pytest.fixture(scope="module")
def facts(drive, tmp_path_factory):
    return drive("canary", report=str(tmp_path_factory.mktemp("canary") / "report.json"))


def test_the_token_growth_canary_passes(facts, api):
    assert (facts["passed"]["status"], facts["passed"]["details"]) == ("pass", "OK")
    run = api.run(facts["passed"]["runId"])
    assert (run["status"], run["conversation_id"]) == ("completed", facts["conversationId"])


def test_a_canary_that_passes_is_cleaned_up_after(facts):
    assert facts["cleaned"] == [facts["passed"]["runId"]]


def test_both_turns_of_a_canary_are_in_the_conversation(facts, api):
    messages = api.get(f"/conversations/{facts['conversationId']}/messages", limit=100)["data"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert {message["status"] for message in messages} == {"completed"}
    kinds = [part["type"] for part in messages[1]["parts"]]
    assert kinds == ["tool_call", "tool_result", "text"]
    assert messages[1]["parts"][0]["input"]["path"] == ".veryfront-token-growth-canary.txt"


def test_a_canary_whose_run_fails_says_why(facts):
    assert facts["failed"]["status"] == "fail"
    assert "The agent does not like this" in facts["failed"]["details"]


def test_the_canary_s_command_line_ends_well(facts, api):
    assert facts["code"] == 0
    assert facts["report"]["summary"] == {"passed": 1, "failed": 0}
    assert facts["report"]["projectId"] == api.project_id()
    assert "passed: 1" in facts["log"]
