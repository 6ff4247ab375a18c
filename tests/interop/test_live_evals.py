"""`veryfront/eval/agent-service`: the client of live evals answers forms and clears up after itself."""

import pytest


@pytest.fixture(scope="module")
def told(drive):
    return drive("live_evals")


def test_an_eval_finds_the_form_that_a_run_opens(told):
    assert told["before"] == []
    assert told["submitted"]["created"] == told["submitted"]["found"]
    assert told["cancelled"]["created"] == told["cancelled"]["found"]


def test_an_eval_submits_an_answer_and_the_run_goes_on(told, api):
    assert told["status"] == "running"
    result = api.events("run-submitted")[-1]
    assert result["event_type"] == "TOOL_CALL_RESULT"
    assert result["payload"]["result"].items() >= {"submitted": True, "values": {"name": "Ada"}}.items()


def test_an_eval_cancels_a_form_and_no_answer_fits_it_any_more(told):
    assert told["after"] == []
    assert told["again"].startswith("Failed to submit eval input response: 409")


def test_an_eval_deletes_its_conversation_once_and_for_all(told, api):
    assert api.http.get(f"/conversations/{told['conversationId']}").status_code == 404
