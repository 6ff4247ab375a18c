"""`veryfront/eval/agent-service`: the SDK's own canaries of durable runs pass."""

import pytest

SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}  # the service is on this machine


@pytest.fixture(scope="module")
def told(drive, tmp_path_factory):
    return drive("canary", report=str(tmp_path_factory.mktemp("canary") / "report.json"))


def test_the_token_growth_canary_passes(told, api):
    assert (told["passed"]["status"], told["passed"]["details"]) == ("pass", "OK")
    run = api.run(told["passed"]["runId"])
    assert (run["status"], run["conversation_id"]) == ("completed", told["conversationId"])


def test_a_canary_that_passes_is_cleaned_up_after(told):
    assert told["cleaned"] == [told["passed"]["runId"]]


def test_both_turns_of_a_canary_are_in_the_conversation(told, api):
    messages = api.get(f"/conversations/{told['conversationId']}/messages", limit=100)["data"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert {message["status"] for message in messages} == {"completed"}
    kinds = [part["type"] for part in messages[1]["parts"]]
    assert kinds == ["tool_call", "tool_result", "text"]
    assert messages[1]["parts"][0]["input"]["path"] == ".veryfront-token-growth-canary.txt"


def test_a_canary_whose_run_fails_says_why(told):
    assert told["failed"]["status"] == "fail"
    assert "The agent does not like this" in told["failed"]["details"]


def test_the_canary_s_command_line_ends_well(told, api):
    assert told["code"] == 0
    assert told["report"]["summary"] == {"passed": 1, "failed": 0}
    assert told["report"]["projectId"] == api.project_id()
    assert "passed: 1" in told["log"]
