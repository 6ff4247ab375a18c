"""Actions on a run's page: forms that work without JavaScript."""

import httpx2
import pytest
from playwright.sync_api import expect

from .run_pages import RUNS, TaskRun, tool_call
from .web_client import WebClient, page_text


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def last_resume(api, run):
    """The value of the last `run.resumed` event."""
    return [
        event["payload"] for event in api.events(run.id) if event["payload"].get("name") == "run.resumed"
    ][-1]["value"]


def test_a_run_is_cancelled_with_a_reason(web_client, api):
    run = TaskRun(api)
    assert "The run was cancelled." in web_client.submit(
        f"{run.page}/cancel", reason="Not needed <b>any more</b>"
    )
    assert run.stored()["cancellation"]["reason"] == "Not needed <b>any more</b>"
    page = web_client.get(run.page)
    assert "Not needed <b>any more</b>" in page_text(page)
    assert "<b>any more" not in page.text
    assert "The run had already ended." in web_client.submit(f"{run.page}/cancel")


def test_a_run_is_paused_and_resumed(web_client, api):
    run = TaskRun(api, claimed=False)
    assert "The run was paused." in web_client.submit(f"{run.page}/pause")
    text = page_text(web_client.get(run.page))
    assert "paused" in text
    assert "Resume" in text
    assert "The run was resumed." in web_client.submit(f"{run.page}/unpause")
    assert run.stored()["paused"] is False


def test_an_ended_run_is_retried_as_a_new_run(web_client, api):
    run = TaskRun(api)
    run.complete("failed")
    answer = web_client.post(f"{run.page}/retry")
    place = answer.headers["location"]
    assert place.startswith(f"{RUNS}/run_")
    assert "This new run was created with the same request" in page_text(web_client.get(place))
    assert api.run(place.rpartition("/")[2])["retry_of"] == run.id


def test_an_ended_run_is_retried_from_a_row_of_its_timeline_or_from_the_failed_step(web_client, api):
    run = TaskRun(api)
    run.step("fetch <b>")
    assert "from_step" not in web_client.get(run.page).text  # it has not ended
    run.end_step("fetch <b>", result=1)
    run.step("save", "2")
    run.end_step("save", "2", error={"message": "no"})
    run.complete("failed")
    page = web_client.get(run.page).text
    assert (
        'name="from_step" value="2" title="Retry from this step" aria-label="Retry from step 2, save"' in page
    )
    assert "Retry from step 1, fetch &lt;b&gt;" in page
    for step, first in (("failed", "2"), ("1", "1")):
        place = web_client.post(f"{run.page}/retry", from_step=step).headers["location"]
        text = page_text(web_client.get(place))
        assert "This new run goes on from the step, with the results of the steps before it." in text
        assert f"from step {first}" in text
        assert ("result of the earlier run" in text) == (first == "2")
        assert api.run(place.rpartition("/")[2])["retry_from"]["step_id"] == first
    assert "The run has no step &#39;9&#39;" in web_client.post(f"{run.page}/retry", 400, from_step="9").text


def test_an_ended_run_is_deleted(web_client, api):
    run = TaskRun(api)
    run.complete()
    assert "data-confirm" in web_client.get(run.page).text
    assert "The run was deleted." in web_client.submit(f"{run.page}/delete")
    web_client.get(run.page, 404)


@pytest.mark.parametrize(("decision", "text"), [("approve", "Approved."), ("deny", "Denied.")])
def test_an_approval_is_answered(web_client, api, decision, text):
    run = TaskRun(api)
    asked = {"tool_call_id": "approval:1", "question": "Write 3 rows?"}
    run.append({"type": "CUSTOM", "name": "run.asked", "value": asked})
    run.wait("approval", tool_call_id="approval:1", tool_name="approval")
    assert "Write 3 rows?" in page_text(web_client.get(run.page))
    assert text in web_client.submit(f"{run.page}/approve", decision=decision, call="approval:1")
    answer = last_resume(api, run)
    assert (answer["type"], answer["result"]) == ("approval", decision == "approve")
    assert run.stored()["status"] == "running"


def test_an_approval_of_a_tool_call_shows_its_arguments(web_client, api):
    run = TaskRun(api)
    run.append(*tool_call("c", "drop_table", '{"table": "orders"}'))
    run.wait("approval", tool_call_id="c", tool_name="drop_table")
    text = page_text(web_client.get(run.page))
    assert "Approve drop_table ?" in text
    assert '"table": "orders"' in text


def test_an_approval_may_carry_a_comment(web_client, api):
    run = TaskRun(api)
    run.wait("approval", tool_call_id="a")
    web_client.post(f"{run.page}/approve", decision="deny", call="a", comment="Too many rows")
    assert last_resume(api, run)["result"] == {"approved": False, "comment": "Too many rows"}


def test_a_tool_call_is_answered_by_json(web_client, api):
    run = TaskRun(api)
    run.append(
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"rows": 7}'},
    )
    run.wait("tool", tool_call_id="c", tool_name="search")
    text = page_text(web_client.get(run.page))
    assert "Result of the call of search" in text
    assert '"rows": 7' in text
    assert "The answer was sent. The run continues." in web_client.submit(
        f"{run.page}/answer", call="c", result='{"found": [1]}'
    )
    payload = api.events(run.id)[-1]["payload"]
    assert (payload["type"], payload["result"], payload["isError"]) == (
        "TOOL_CALL_RESULT",
        {"found": [1]},
        False,
    )


def test_an_answer_may_be_an_error(web_client, api):
    run = TaskRun(api)
    run.wait("tool", tool_call_id="c")
    web_client.post(f"{run.page}/answer", call="c", result='"no such row"', is_error="true")
    assert api.events(run.id)[-1]["payload"]["isError"] is True


def test_an_event_is_sent(web_client, api):
    run = TaskRun(api)
    run.wait("event", tool_call_id="event:paid:1", tool_name="event:paid")
    web_client.post(f"{run.page}/answer", call="event:paid:1", result="12")
    answer = last_resume(api, run)
    assert (answer["type"], answer["result"]) == ("event", 12)


def test_an_invalid_json_answer_is_refused_and_kept_in_its_form(web_client, api):
    run = TaskRun(api)
    run.wait("tool", tool_call_id="c")
    page = web_client.post(f"{run.page}/answer", 400, call="c", result="found </textarea> it")
    assert "The answer is not JSON" in page_text(page)
    assert "found &lt;/textarea&gt; it</textarea>" in page.text
    assert run.stored()["status"] == "waiting"


@pytest.mark.parametrize(
    ("change", "fields", "status", "why"),
    [
        ("retry", {}, 409, "Only a run that has ended can be retried"),
        ("delete", {}, 409, "Only a run that has ended can be deleted"),
        ("unpause", {}, 409, "does not wait"),
        ("approve", {"decision": "approve"}, 409, "does not wait"),
        ("approve", {"decision": "maybe"}, 400, "Choose approve or deny"),
        ("input", {"request": "x"}, 400, "The form does not belong to this run"),
    ],
)
def test_a_rejected_action_is_explained_on_the_runs_page(web_client, api, change, fields, status, why):
    run = TaskRun(api)
    page = web_client.post(f"{run.page}/{change}", status, **fields)
    assert 'role="alert"' in page.text
    assert '<nav class="tabs"' in page.text
    assert why.lower() in page_text(page).lower()
    assert run.stored()["status"] == "running"


def test_an_answer_to_another_call_than_the_run_waits_for_is_refused(web_client, api):
    run = TaskRun(api)
    run.wait("tool", tool_call_id="second")
    assert "waits for the call second" in page_text(
        web_client.post(f"{run.page}/answer", 409, call="first", result="1")
    )


def test_a_change_returns_to_the_same_view(web_client, api):
    run = TaskRun(api)
    assert f'action="{run.page}/pause?view=log"' in web_client.get(f"{run.page}?view=log").text
    answer = web_client.post(f"{run.page}/pause?view=log")
    assert answer.headers["location"] == f"{run.page}?view=log"


CHANGES = ("cancel", "retry", "pause", "unpause", "delete", "approve", "answer", "input", "input/cancel")


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_made_for_another_site(web_client, api, change):
    run = TaskRun(api)
    assert web_client.http.post(f"{run.page}/{change}", data={"decision": "approve"}).status_code == 403
    assert run.stored()["status"] == "running"


def test_runs_of_other_projects_cannot_be_changed(server, api, web_client):
    api.post("/projects", {"slug": f"elsewhere-{server.url[-5:]}", "name": "Elsewhere"})
    key = api.post("/projects/default/api-keys", {"name": "inside", "scopes": ["runs:write"]})["key"]
    inside = WebClient(server, key)
    web_client.get(RUNS)
    inside.post(f"/ui/projects/elsewhere-{server.url[-5:]}/runs/x/cancel", 404)
    inside.close()
    with httpx2.Client(base_url=server.url) as anonymous:
        assert anonymous.post(f"{RUNS}/x/cancel").status_code in (303, 401)


def test_a_run_is_read_and_cancelled_with_the_keyboard_alone(open_tab, api):
    run = TaskRun(api, title="Look at me")
    run.log("a line\n")
    page = open_tab(run.page).page
    cancel = page.locator("summary", has_text="Cancel…")
    for _ in range(60):
        page.keyboard.press("Tab")
        if cancel.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Enough")
    page.keyboard.press("Enter")
    expect(page.locator("#run-head")).to_contain_text("Enough")
    page.locator(".tabs a", has_text="Log").focus()
    page.keyboard.press("Enter")
    search = page.get_by_role("searchbox", name="Search")
    expect(search).to_be_visible()
    page.keyboard.press("/")
    expect(search).to_be_focused()


def test_a_signal_is_sent_to_a_run_that_waits_for_it_and_kept_for_another(web_client, api):
    run = TaskRun(api)
    assert "The run takes it when it waits for it." in web_client.submit(
        f"{run.page}/signal", name="<b>paid</b>", payload='{"euros": 5}'
    )
    text = page_text(web_client.get(run.page))
    assert "Signals not taken yet 1" in text
    assert "<b>paid</b>" in text
    run.wait("event", tool_call_id="c-1", event={"name": "sent"})
    assert "Signal: sent" in page_text(web_client.get(run.page))
    assert "The payload is not JSON" in page_text(
        web_client.post(f"{run.page}/signal", 400, name="sent", payload="{")
    )
    assert "The run has taken it" in web_client.submit(f"{run.page}/signal", name="sent", payload="7")
    assert last_resume(api, run)["result"] == 7
    events = [{"name": name, "tool_call_id": f"c-{name}"} for name in ("left", "right")]
    run.wait("event", open_events=events)
    page = web_client.get(run.page).text
    assert "<option>left</option><option>right</option>" in page
    web_client.post(f"{run.page}/signal", name="right")
    assert last_resume(api, run)["tool_call_id"] == "c-right"
    run.wait("event", tool_call_id="c-9", event={"name": "late", "match": {"order.<b>": "<i>"}})
    assert 'An event of the project resumes it where order.<b> is "<i>"' in page_text(
        web_client.get(run.page)
    )
    web_client.post(f"{run.page}/signal", name="late")
    run.wait("approval", tool_call_id="c-2", open_events=[{"name": "late", "tool_call_id": "c-3"}])
    page = page_text(web_client.get(run.page))
    assert "Comment (optional)" in page
    assert "Signal…" in page  # either of them ends the wait
    web_client.post(f"{run.page}/signal", name="late")
    assert last_resume(api, run)["tool_call_id"] == "c-3"
    assert "1 to 128 characters" in page_text(web_client.post(f"{run.page}/signal", 400, name="a\nb"))
