"""`veryfront/agent`: messages of users, and agent runs that are handed over with a message."""

import pytest

UNKNOWN = "2f4a4b1e-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def facts(drive):
    return drive("messages", unknown=UNKNOWN)


@pytest.fixture(scope="module")
def messages(api, facts):
    """The messages of a conversation, from the server's list."""

    def read(conversation):
        page = api.get(f"/conversations/{conversation}/messages", limit=100)
        assert page["conversation_id"] == conversation
        return page["data"]

    return read


def test_a_message_is_added_once_under_its_idempotency_key(facts, messages):
    assert facts["askedAgain"] == facts["asked"]
    first = messages(facts["parent"])[0]
    assert (first["id"], first["role"]) == (facts["asked"], "user")
    assert first["parts"] == [{"type": "text", "text": "Who is Ada?"}]
    assert (first["metadata"], first["idempotency_key"]) == ({"from": "test"}, "question-1")


def test_a_message_of_a_page_is_kept_with_its_parts_and_its_parent(facts, messages):
    second = messages(facts["parent"])[1]
    assert (second["id"], second["parent_id"]) == (facts["persisted"], facts["asked"])
    assert [part["type"] for part in second["parts"]] == ["text", "citation"]
    assert second["parts"][1]["url"] == "https://example.com/"
    assert second["idempotency_key"] == "ui-1"


def test_the_latest_message_of_a_page_is_kept_under_what_is_above_it(facts, messages):
    third = messages(facts["parent"])[2]
    assert (third["idempotency_key"], third["parent_id"]) == ("ui-2", facts["asked"])
    assert len(messages(facts["parent"])) == 3


def test_a_message_in_an_unknown_conversation_is_refused_and_the_page_gets_the_error(facts):
    assert "(404)" in facts["refused"]
    assert facts["failures"] == [{"status": 404, "messageId": "ui-1"}]


def test_an_agent_run_is_handed_over_with_a_message(facts, messages, api):
    handed = facts["handed"]
    said, answer = messages(handed["conversation"]["id"])
    assert (said["id"], said["role"]) == (handed["message"]["id"], "user")
    assert (answer["id"], answer["role"]) == (handed["run"]["messageId"], "assistant")
    assert handed["run"]["runId"] == "run-handed-over"
    assert api.get(f"/conversations/{handed['conversation']['id']}")["type"] == "agent_task"


def test_the_message_of_a_run_ends_as_the_run_does(facts, messages):
    answer = messages(facts["handed"]["conversation"]["id"])[1]
    assert (answer["status"], answer["model"]) == ("completed", "claude-opus")
    assert answer["token_usage"] is not None


def test_a_conversation_that_has_a_project_keeps_it(facts, api):
    assert "already linked to a different project" in facts["linked"]
    assert api.get(f"/conversations/{facts['parent']}")["project_id"] == api.project_id()
