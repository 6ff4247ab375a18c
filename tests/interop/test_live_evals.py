"""`veryfront/eval/agent-service`: the client of live evals submits forms and deletes its conversation."""

import pytest


@pytest.fixture(scope="module")
def facts(drive):
    return drive("live_evals")


def test_an_eval_finds_the_form_that_a_run_opens(facts):
    assert facts["before"] == []
    assert facts["submitted"]["created"] == facts["submitted"]["found"]
    assert facts["cancelled"]["created"] == facts["cancelled"]["found"]


def test_an_eval_submits_an_answer_and_the_run_goes_on(facts, api):
    assert facts["status"] == "running"
    result = api.events("run-submitted")[-1]
    assert result["event_type"] == "TOOL_CALL_RESULT"
    assert result["payload"]["result"].items() >= {"submitted": True, "values": {"name": "Ada"}}.items()


def test_an_eval_cancels_a_form_and_no_answer_fits_it_any_more(facts):
    assert facts["after"] == []
    assert facts["again"].startswith("Failed to submit eval input response: 409")


def test_an_eval_deletes_its_conversation_once_and_for_all(facts, api):
    assert api.http.get(f"/conversations/{facts['conversationId']}").status_code == 404
