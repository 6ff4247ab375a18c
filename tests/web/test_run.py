"""The page of a run, without JavaScript."""

import json

import pytest

from runstead.web.runs.head import failure
from runstead.web.runs.tracebacks import pieces

from .run_pages import RUNS, InputRun, TaskRun, text_delta, text_start, tool_call, tool_result
from .web_client import WebClient, page_text


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def test_the_page_shows_what_the_run_is_and_its_status(web_client, api):
    run = TaskRun(api, title="Count the boxes", config={"rows": 3})
    text = page_text(web_client.get(run.page))
    for expected in (
        "Count the boxes",
        "running",
        f"task:{run.id}",
        "Attempt 1",
        "Lease until",
        '"rows": 3',
        "Pause",
    ):
        assert expected in text


def test_the_page_shows_the_trace_of_the_creation(web_client, api):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    assert f"Trace {trace_id}" in page_text(web_client.get(TaskRun(api, claimed=False, headers=headers).page))
    assert "Trace " not in page_text(web_client.get(TaskRun(api, claimed=False).page))


def test_a_missing_run_is_not_found(web_client):
    assert "No run nothing in project default" in page_text(web_client.get(f"{RUNS}/nothing", 404))


def test_an_address_without_a_project_leads_to_the_run(web_client, api):
    run = TaskRun(api)
    assert web_client.get(f"/ui/runs/{run.id}", 303).headers["location"] == run.page
    web_client.get("/ui/runs/nothing", 404)


def test_a_failure_shows_its_message_code_and_detail(web_client, api):
    run = TaskRun(api)
    run.complete(
        "failed",
        terminal_error_code="OUT_OF_STOCK",
        terminal_error_message="Row 7 is gone\nline two",
        error_detail={"row": 7},
        exit_code=3,
    )
    page = web_client.get(run.page)
    for expected in ("failed", "OUT_OF_STOCK", "Row 7 is gone", '"row": 7', "Exit code 3", "Retry", "Delete"):
        assert expected in page_text(page)
    assert "line two" in page.text
    assert "Row 7 is gone" in page_text(web_client.get(RUNS))
    whole = web_client.get(f"{run.page}/values/error")
    assert whole.json()["detail"] == {"row": 7}


def test_the_detail_of_a_raised_exception_is_its_traceback():
    raised = b'{"message":"no","code":"E","detail":{"type":"E","traceback":"Traceback\\n  File"}}'
    assert failure(raised).detail == "Traceback\n  File"
    assert failure(raised).summary == "E: no"
    assert failure(b'{"message":"no","detail":{"traceback":7}}').detail == '{\n  "traceback": 7\n}'


def test_a_traceback_shows_the_users_frames_and_folds_those_of_libraries():
    text = """Traceback (most recent call last):
  File "/srv/app/flow.py", line 12, in flow
    await ctx.step(fetch)
  … 4 frames of runstead
  File "/srv/app/flow.py", line 3, in fetch
    httpx.get(url)
    ~~~~~~~~~^^^^^
  File "/srv/.venv/lib/python3.13/site-packages/httpx/_api.py", line 198, in get
    return request(
  File "/srv/.venv/lib/python3.13/site-packages/httpx/_api.py", line 106, in request
    return client.request(
ValueError: no route"""
    found = pieces(text)
    kinds = ["text", "user", "library", "user", "library", "text"]
    assert [one.kind for one in found] == kinds
    assert [one.frames for one in found] == [0, 1, 1, 1, 2, 0]
    assert "\n".join(one.text for one in found) == text


def test_lists_show_the_type_of_an_exception(web_client, api):
    run = TaskRun(api)
    detail = {"type": "ValueError", "traceback": 'Traceback\n  File "/srv/app/flow.py", line 12, in flow'}
    run.complete("failed", terminal_error_message="no route", error_detail=detail)
    assert "ValueError: no route" in page_text(web_client.get(RUNS))
    page = web_client.get(run.page)
    assert '<pre class="user">  File &#34;/srv/app/flow.py&#34;' in page.text


def test_an_approval_shows_that_it_expires_and_then_fails(web_client, api):
    run = TaskRun(api)
    later = "2099-01-01T00:00:00Z"
    run.wait("approval", tool_call_id="approval:1", tool_name="approval", resume_at=later)
    assert "expires 2099-01-01 00:00:00 UTC , then fails" in page_text(web_client.get(run.page))


def test_lost_attempts_show_their_outcome(web_client, api):
    run = TaskRun(api, backoff_limit=5)
    worker = run.stored()["lease_owner"]
    api.post(
        f"/agent-workers/workers/{worker}/runs/{run.id}/release",
        {"error": {"message": "no disk", "code": "DISK"}, "retry_after_seconds": 600},
    )
    text = page_text(web_client.get(run.page))
    for expected in ("pending", "1 lost", "Attempt 1 was lost", "released", "DISK", "no disk"):
        assert expected in text


def test_values_are_shown_cut_and_downloaded_whole(web_client, api):
    run = TaskRun(api, input={"text": "x" * 50_000})
    run.complete(output=list(range(3)), metadata={"provider": "example", "model": "small", "inputTokens": 12})
    page = web_client.get(run.page)
    assert "more characters" in page.text
    assert len(page.text) < 60_000
    whole = web_client.get(f"{run.page}/values/input")
    assert whole.json() == {"text": "x" * 50_000}
    assert whole.headers["content-disposition"].startswith(f'attachment; filename="{run.id}-input.json"')
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"].startswith("sandbox")
    assert web_client.get(f"{run.page}/values/output").json() == [0, 1, 2]
    web_client.get(f"{run.page}/values/config", 404)
    web_client.get(f"{run.page}/values/lease_token", 404)


def test_a_run_links_to_its_relatives(web_client, api):
    parent = TaskRun(api)
    child = TaskRun(api, parent=parent, title="The one below")
    child.complete()
    again = api.post(f"/runs/{child.id}/retry")["run"]["run_id"]
    assert f'href="{parent.page}"' in web_client.get(child.page).text
    assert f'href="{child.page}"' in web_client.get(f"{RUNS}/{again}").text
    assert f'href="{child.page}"' in web_client.get(parent.page).text
    tree = web_client.get(f"{parent.page}?view=tree")
    assert f'href="{child.page}"' in tree.text
    for expected in ("3 runs", "this run", "The one below", "completed", "pending"):
        assert expected in page_text(tree)


def test_a_run_shows_its_compensations_and_its_family_marks_them(web_client, api):
    run = TaskRun(api)
    for target in ("task:<b>refund", "task:release"):
        api.post(f"/runs/{run.id}/compensations", {"target": target, "title": "Undo <b>it"})
    page = web_client.get(run.page)
    text = page_text(page)
    assert text.index("task:release Undo <b>it") < text.index("task:<b>refund Undo <b>it")
    assert "<b>refund" not in page.text
    web_client.submit(f"{run.page}/cancel")
    assert "in this order" not in page_text(web_client.get(run.page))
    assert page_text(web_client.get(f"{run.page}?view=tree")).count("compensation") == 2
    [last, _] = api.get(f"/runs/{run.id}/compensations")["data"]
    text = page_text(web_client.get(f"{RUNS}/{last['run_id']}"))
    assert f"Compensates {run.id}" in text
    assert "Waiting for the end of the compensation before it." in text


def test_a_waiting_run_shows_what_it_waits_for(web_client, api):
    run = TaskRun(api)
    run.wait("event", tool_name="sleep", tool_call_id="sleep:1", resume_at="2099-01-01T00:00:00Z")
    assert "Sleeping. resumes 2099-01-01 00:00:00 UTC" in page_text(web_client.get(run.page))
    parent = TaskRun(api)
    child = TaskRun(api, parent=parent, claimed=False)
    parent.wait("event", tool_call_id="run:x", awaited_run_id=child.id)
    page = web_client.get(parent.page)
    assert "Waiting for a child run to end." in page_text(page)
    assert ">Event<" not in page.text
    assert "Result (JSON)" not in page.text


def test_a_blocked_run_shows_what_differs_and_can_be_tried_again_at_once(web_client, api):
    run = TaskRun(api)
    sentence = "step 2 is 'charge' in the log, and 'pay' in the code (app.py:4)"
    run.wait("event", tool_name=f"blocked: {sentence}", tool_call_id="blocked:1")
    page = web_client.get(run.page)
    text = page_text(page)
    for expected in ("Blocked: its code does not fit its log.", sentence, "Start a worker with fitting code"):
        assert expected in text
    assert "Result (JSON)" not in page.text
    assert "blocked" in page_text(web_client.get(run.page.rpartition("/")[0]))
    web_client.post(f"{run.page}/answer", call="blocked:1")
    assert api.get(f"/runs/{run.id}")["status"] == "running"


def test_the_timeline_is_a_list_and_a_picture(web_client, api):
    run = TaskRun(api)
    run.step("fetch")
    run.append(*tool_call(), tool_result("nothing", isError=True))
    run.end_step("fetch")
    page = web_client.get(f"{run.page}?view=timeline")
    assert "fetch , step, done" in page_text(page)
    assert "search , tool, failed" in page_text(page)
    assert '<rect class="bar tool failed"' in page.text
    assert "<title>search (tool), failed," in page.text


def test_a_timeline_continues_on_the_next_page(web_client, api):
    run = TaskRun(api)
    for first in range(1, 601, 50):
        run.append(
            *(
                {"type": kind, "stepName": f"s{n}", "stepId": str(n)}
                for n in range(first, first + 50)
                for kind in ("STEP_STARTED", "STEP_FINISHED")
            )
        )
    page = web_client.get(f"{run.page}?view=timeline").text
    assert ">s500<" in page
    assert ">s501<" not in page
    more = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    after = web_client.get(more).text
    assert ">s501<" in after
    assert ">s600<" in after
    assert ">s500<" not in after
    newest = web_client.get(run.page).text
    assert "The whole timeline" in newest
    assert ">s600<" in newest
    assert ">s540<" not in newest


def test_a_transcript_shows_the_latest_messages_and_links_to_earlier_ones(web_client, api):
    run = TaskRun(api)
    run.append(text_start("first"), text_delta("In the beginning", "first"), *tool_call(), tool_result("42"))
    for _ in range(4):
        run.append(text_start(), *(text_delta("la ") for _ in range(99)))
    run.append(text_delta("the end"))
    page = web_client.get(f"{run.page}?view=conversation")
    assert "the end" in page_text(page)
    assert "In the beginning" not in page_text(page)
    earlier = page.text.partition("before=")[2].partition('"')[0]
    before = web_client.get(f"{run.page}?view=conversation&before={earlier}")
    for expected in ("In the beginning", "search answered", "42", "Newest"):
        assert expected in page_text(before)


def test_the_log_of_a_running_run_comes_from_its_events(web_client, api):
    run = TaskRun(api)
    run.log("one\ntwo\n")
    run.append({"type": "CUSTOM", "name": "run.output", "value": {"stream": "stdout", "text": "three\n"}})
    text = page_text(web_client.get(f"{run.page}?view=log"))
    assert "one two three" in text
    assert "two" not in page_text(web_client.get(f"{run.page}?view=log&q=one")).partition("Download")[2]
    assert web_client.get(f"{run.page}/log").text == "one\ntwo\nthree\n"


def test_the_log_of_an_ended_run_is_the_stored_log(web_client, api):
    run = TaskRun(api)
    run.log("told on the way\n")
    run.complete(logs="".join(f"line {n}\n" for n in range(1_500)))
    page = web_client.get(f"{run.page}?view=log")
    assert "500 earlier lines are in the download." in page_text(page)
    assert "line 1499" in page.text
    assert "line 499<" not in page.text
    assert "line 7<" in web_client.get(f"{run.page}?view=log&q=line+7").text
    whole = web_client.get(f"{run.page}/log")
    assert whole.text.count("\n") == 1_500
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "attachment" in whole.headers["content-disposition"]


def test_events_are_read_in_pages_and_by_type(web_client, api):
    run = TaskRun(api)
    for _ in range(2):
        run.append(*({"type": "A", "n": n} for n in range(100)))
    run.append({"type": "B", "deep": {"er": 1}})
    first = web_client.get(f"{run.page}?view=events").text
    assert 'id="event-100"' in first
    assert 'id="event-101"' not in first
    following = (
        first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    )
    assert 'id="event-101"' in web_client.get(following).text
    assert 'id="event-201"' in web_client.get(f"{run.page}?view=events&from=end").text
    only = web_client.get(f"{run.page}?view=events&type=B")
    assert only.text.count('<tr id="event-') == 1
    assert '"er": 1' in page_text(only)
    assert "No matching events." in page_text(web_client.get(f"{run.page}?view=events&type=C"))
    lines = web_client.get(f"{run.page}/events.ndjson").text.splitlines()
    assert len(lines) == 201
    assert json.loads(lines[-1]) == {"type": "B", "deep": {"er": 1}}
    assert len(web_client.get(f"{run.page}/events.ndjson?type=B").text.splitlines()) == 1


VIEWS = ("overview", "timeline", "conversation", "log", "events", "tree", "nonsense")


@pytest.mark.parametrize("view", VIEWS)
def test_every_part_of_a_run_can_be_read_in_every_state(web_client, api, view):
    pending, paused, over = TaskRun(api, claimed=False), TaskRun(api), TaskRun(api)
    api.post(f"/runs/{paused.id}/pause")
    over.complete("cancelled")
    asking = InputRun(api, {"name": "city", "label": "City", "type": "text"})
    for run in (pending, paused, over, asking):
        page = web_client.get(f"{run.page}?view={view}")
        assert '<nav class="tabs"' in page.text
        assert ("sse-connect" in page.text) == (run is not over)


@pytest.mark.parametrize(
    "query", ["from=x", "from=99999999", "before=0", "before=-1", "type=%00", "from=1&type=%0a"]
)
@pytest.mark.parametrize("view", ["timeline", "conversation", "events"])
def test_an_invalid_address_still_shows_a_page(web_client, api, view, query):
    run = TaskRun(api)
    run.append(text_start(), text_delta("words"))
    web_client.get(f"{run.page}?view={view}&{query}")


def test_a_reader_is_offered_no_actions(server, api):
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader, run = WebClient(server, key), TaskRun(api)
    assert "Cancel" not in reader.get(run.page).text
    assert "runs:write" in page_text(reader.post(f"{run.page}/cancel", 403))
    assert run.stored()["status"] == "running"
    reader.close()
