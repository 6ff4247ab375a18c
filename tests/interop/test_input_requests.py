"""`veryfront/agent`: forms of an agent that a person submits."""

import json

import pytest

VALUES = {
    "name": "Ada",
    "email": "ada@example.com",
    "page": "https://example.com/ada",
    "count": 2,
    "note": "Thank you",
    "size": "m",
    "gift": False,
    "colour": "red",
    "sure": True,
}


@pytest.fixture(scope="module")
def facts(start, api):
    """The agent's observations while a person submits its form: first with invalid, then with valid values."""
    asking = start("input_requests")
    asked = json.loads(asking.line())
    path = f"/conversations/{asked['conversationId']}/input-requests/{asked['id']}"
    listed = api.get(f"/conversations/{asked['conversationId']}/input-requests", status="open")["data"]
    refused = api.http.post(f"{path}/responses", json={"values": VALUES | {"email": "not an address"}})
    answered = api.http.post(f"{path}/responses", json={"values": VALUES | {"code": "secret-1234"}})
    answered.raise_for_status()
    facts = asking.facts()
    return facts | {"path": path, "listed": listed, "refused": refused.status_code}


def test_a_form_is_kept_as_the_agent_made_it(facts, api):
    created, form = facts["seen"]["created"], facts["form"]
    assert (created["title"], created["description"]) == (form["title"], form["description"])
    assert (created["status"], created["requestedResponderType"]) == ("open", "human")
    assert created["metadata"] == {"submitLabel": "Order"}
    assert [field["name"] for field in created["fields"]] == [field["name"] for field in form["fields"]]
    for made, wanted in zip(created["fields"], form["fields"], strict=True):
        assert made.items() >= wanted.items()
    assert [request["id"] for request in facts["listed"]] == [created["id"]]
    assert api.get(facts["path"])["id"] == created["id"]


def test_a_form_makes_the_event_that_pages_show(facts):
    assert facts["seen"]["event"] == "veryfront.input_request.lifecycle"


def test_the_run_waits_for_the_answer(facts):
    waiting = facts["seen"]["waiting"]
    assert (waiting["status"], waiting["waitingToolCallId"]) == ("waiting_for_tool", "ask-1")


def test_an_answer_that_does_not_fit_is_refused_and_the_run_waits_on(facts):
    assert facts["refused"] == 400


def test_the_agent_gets_the_answer_and_the_run_goes_on(facts, api):
    assert facts["result"]["submitted"] is True
    assert facts["result"]["values"].items() >= VALUES.items()
    assert (facts["seen"]["running"]["status"], facts["seen"]["running"]["waitingToolCallId"]) == (
        "running",
        None,
    )
    assert api.run("run-that-asks")["status"] == "completed"


def test_a_secret_is_never_shown_again(facts, api):
    assert facts["result"]["values"].get("code") is None
    assert "secret-1234" not in json.dumps(facts)
    assert "secret-1234" not in json.dumps([api.get(facts["path"]), api.events("run-that-asks")])


def test_an_unknown_form_is_a_404(facts):
    assert facts["unknown"] == 404
