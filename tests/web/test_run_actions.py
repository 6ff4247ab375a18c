"""What is done with a run from its page: forms that work without JavaScript."""

import httpx2
import pytest

from .run_pages import RUNS, Made, call
from .web_client import Person, words


@pytest.fixture
def person(server):
    person = Person(server)
    yield person
    person.close()


def last_resume(api, run):
    """What the log has of the last answer."""
    return [
        event["payload"] for event in api.events(run.id) if event["payload"].get("name") == "run.resumed"
    ][-1]["value"]


def test_a_run_is_cancelled_with_a_reason(person, api):
    run = Made(api)
    assert "The run was cancelled." in person.told(f"{run.page}/cancel", reason="Not needed <b>any more</b>")
    assert run.stored()["cancellation"]["reason"] == "Not needed <b>any more</b>"
    page = person.get(run.page)
    assert "Not needed <b>any more</b>" in words(page)
    assert "<b>any more" not in page.text
    assert "The run had ended already." in person.told(f"{run.page}/cancel")


def test_a_run_is_paused_and_let_go_on(person, api):
    run = Made(api, claimed=False)
    assert "The run is paused." in person.told(f"{run.page}/pause")
    told = words(person.get(run.page))
    assert "paused" in told
    assert "Let it go on" in told
    assert "The run goes on." in person.told(f"{run.page}/unpause")
    assert run.stored()["paused"] is False


def test_an_ended_run_is_tried_again_as_a_new_one(person, api):
    run = Made(api)
    run.complete("failed")
    answer = person.post(f"{run.page}/retry")
    place = answer.headers["location"]
    assert place.startswith(f"{RUNS}/run_")
    assert "A new run with the same request was made" in words(person.get(place))
    assert api.run(place.rpartition("/")[2])["retry_of"] == run.id


def test_an_ended_run_is_deleted(person, api):
    run = Made(api)
    run.complete()
    assert "data-confirm" in person.get(run.page).text
    assert "The run was deleted." in person.told(f"{run.page}/delete")
    person.get(run.page, 404)


@pytest.mark.parametrize(("decision", "told"), [("approve", "Approved."), ("deny", "Denied.")])
def test_an_approval_is_answered(person, api, decision, told):
    run = Made(api)
    asked = {"tool_call_id": "approval:1", "question": "Write 3 rows?"}
    run.append({"type": "CUSTOM", "name": "run.asked", "value": asked})
    run.wait("approval", tool_call_id="approval:1", tool_name="approval")
    assert "Write 3 rows?" in words(person.get(run.page))
    assert told in person.told(f"{run.page}/approve", decision=decision, call="approval:1")
    answer = last_resume(api, run)
    assert (answer["type"], answer["result"]) == ("approval", decision == "approve")
    assert run.stored()["status"] == "running"


def test_an_approval_of_a_tool_call_shows_its_arguments(person, api):
    run = Made(api)
    run.append(*call("c", "drop_table", '{"table": "orders"}'))
    run.wait("approval", tool_call_id="c", tool_name="drop_table")
    told = words(person.get(run.page))
    assert "Approve drop_table ?" in told
    assert '"table": "orders"' in told


def test_an_approval_may_carry_a_comment(person, api):
    run = Made(api)
    run.wait("approval", tool_call_id="a")
    person.post(f"{run.page}/approve", decision="deny", call="a", comment="Too many rows")
    assert last_resume(api, run)["result"] == {"approved": False, "comment": "Too many rows"}


def test_a_tool_call_is_answered_by_json(person, api):
    run = Made(api)
    run.append(
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"rows": 7}'},
    )
    run.wait("tool", tool_call_id="c", tool_name="search")
    told = words(person.get(run.page))
    assert "Answer the call of search" in told
    assert '"rows": 7' in told
    assert "The run has its answer." in person.told(f"{run.page}/answer", call="c", result='{"found": [1]}')
    payload = api.events(run.id)[-1]["payload"]
    assert (payload["type"], payload["result"], payload["isError"]) == (
        "TOOL_CALL_RESULT",
        {"found": [1]},
        False,
    )


def test_an_answer_may_be_an_error(person, api):
    run = Made(api)
    run.wait("tool", tool_call_id="c")
    person.post(f"{run.page}/answer", call="c", result='"no such row"', is_error="true")
    assert api.events(run.id)[-1]["payload"]["isError"] is True


def test_an_event_is_brought(person, api):
    run = Made(api)
    run.wait("event", tool_call_id="event:paid:1", tool_name="event:paid")
    person.post(f"{run.page}/answer", call="event:paid:1", result="12")
    answer = last_resume(api, run)
    assert (answer["type"], answer["result"]) == ("event", 12)


def test_an_answer_that_is_no_json_is_refused_and_kept_in_its_form(person, api):
    run = Made(api)
    run.wait("tool", tool_call_id="c")
    page = person.post(f"{run.page}/answer", 400, call="c", result="found </textarea> it")
    assert "The answer is not JSON" in words(page)
    assert "found &lt;/textarea&gt; it</textarea>" in page.text
    assert run.stored()["status"] == "waiting"


@pytest.mark.parametrize(
    ("change", "fields", "status", "why"),
    [
        ("retry", {}, 409, "Only a run that has ended can be retried"),
        ("delete", {}, 409, "Only a run that has ended can be deleted"),
        ("unpause", {}, 409, "does not wait"),
        ("approve", {"decision": "approve"}, 409, "does not wait"),
        ("approve", {"decision": "maybe"}, 400, "Say approve or deny"),
        ("input", {"request": "x"}, 400, "The form is not of this run"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_runs_page(person, api, change, fields, status, why):
    run = Made(api)
    page = person.post(f"{run.page}/{change}", status, **fields)
    assert 'role="alert"' in page.text
    assert '<nav class="tabs"' in page.text
    assert why.lower() in words(page).lower()
    assert run.stored()["status"] == "running"


def test_an_answer_to_another_call_than_the_run_waits_for_is_refused(person, api):
    run = Made(api)
    run.wait("tool", tool_call_id="second")
    assert "waits for the call second" in words(
        person.post(f"{run.page}/answer", 409, call="first", result="1")
    )


def test_a_change_goes_back_to_the_part_that_was_looked_at(person, api):
    run = Made(api)
    assert f'action="{run.page}/pause?view=log"' in person.get(f"{run.page}?view=log").text
    answer = person.post(f"{run.page}/pause?view=log")
    assert answer.headers["location"] == f"{run.page}?view=log"


CHANGES = ("cancel", "retry", "pause", "unpause", "delete", "approve", "answer", "input", "input/cancel")


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_made_for_another_site(person, api, change):
    run = Made(api)
    assert person.http.post(f"{run.page}/{change}", data={"decision": "approve"}).status_code == 403
    assert run.stored()["status"] == "running"


def test_nothing_is_done_with_runs_of_projects_that_one_does_not_see(server, api, person):
    api.post("/projects", {"slug": f"elsewhere-{server.url[-5:]}", "name": "Elsewhere"})
    key = api.post("/projects/default/api-keys", {"name": "inside", "scopes": ["runs:write"]})["key"]
    inside = Person(server, key)
    person.get(RUNS)
    inside.post(f"/ui/projects/elsewhere-{server.url[-5:]}/runs/x/cancel", 404)
    inside.close()
    with httpx2.Client(base_url=server.url) as nobody:
        assert nobody.post(f"{RUNS}/x/cancel").status_code in (303, 401)
