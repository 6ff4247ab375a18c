"""The page of a run, as it is read without JavaScript."""

import json

import pytest

from .run_pages import RUNS, Asking, Made, begin, call, result, say
from .web_client import Person, words


@pytest.fixture
def person(server):
    person = Person(server)
    yield person
    person.close()


def test_the_first_look_says_what_it_is_and_how_it_stands(person, api):
    run = Made(api, title="Count the boxes", config={"rows": 3})
    told = words(person.get(run.page))
    for said in (
        "Count the boxes",
        "running",
        f"task:{run.id}",
        "Attempt 1",
        "Lease until",
        '"rows": 3',
        "Pause",
    ):
        assert said in told


def test_a_run_that_is_not_there_is_not_found(person):
    assert "not found" in words(person.get(f"{RUNS}/nothing", 404))


def test_a_failure_says_why_with_its_code_and_detail(person, api):
    run = Made(api)
    run.complete(
        "failed",
        terminal_error_code="OUT_OF_STOCK",
        terminal_error_message="Row 7 is gone\nline two",
        error_detail={"row": 7},
        exit_code=3,
    )
    page = person.get(run.page)
    for said in ("failed", "OUT_OF_STOCK", "Row 7 is gone", '"row": 7', "Exit code 3", "Retry", "Delete"):
        assert said in words(page)
    assert "line two" in page.text
    assert "Row 7 is gone" in words(person.get(RUNS))
    whole = person.get(f"{run.page}/values/error")
    assert whole.json()["detail"] == {"row": 7}


def test_attempts_that_were_lost_tell_how(person, api):
    run = Made(api, backoff_limit=5)
    worker = run.stored()["lease_owner"]
    api.post(
        f"/agent-workers/workers/{worker}/runs/{run.id}/release",
        {"error": {"message": "no disk", "code": "DISK"}, "retry_after_seconds": 600},
    )
    told = words(person.get(run.page))
    for said in ("pending", "1 lost", "Attempt 1 was lost", "released", "DISK", "no disk"):
        assert said in told


def test_values_are_shown_cut_and_downloaded_whole(person, api):
    run = Made(api, input={"text": "x" * 50_000})
    run.complete(output=list(range(3)), metadata={"provider": "example", "model": "small", "inputTokens": 12})
    page = person.get(run.page)
    assert "characters more" in page.text
    assert len(page.text) < 60_000
    whole = person.get(f"{run.page}/values/input")
    assert whole.json() == {"text": "x" * 50_000}
    assert whole.headers["content-disposition"].startswith(f'attachment; filename="{run.id}-input.json"')
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"].startswith("sandbox")
    assert person.get(f"{run.page}/values/output").json() == [0, 1, 2]
    person.get(f"{run.page}/values/config", 404)
    person.get(f"{run.page}/values/lease_token", 404)


def test_a_run_leads_to_its_relatives(person, api):
    parent = Made(api)
    child = Made(api, parent=parent, title="The one below")
    child.complete()
    again = api.post(f"/runs/{child.id}/retry")["run"]["run_id"]
    assert f'href="{parent.page}"' in person.get(child.page).text
    assert f'href="{child.page}"' in person.get(f"{RUNS}/{again}").text
    assert f'href="{child.page}"' in person.get(parent.page).text
    tree = person.get(f"{parent.page}?view=tree")
    assert f'href="{child.page}"' in tree.text
    for said in ("3 runs", "this one", "The one below", "completed", "pending"):
        assert said in words(tree)


def test_a_wait_says_for_what(person, api):
    run = Made(api)
    run.wait("event", tool_name="sleep", tool_call_id="sleep:1", resume_at="2099-01-01T00:00:00Z")
    assert "Sleeping. goes on 2099-01-01 00:00:00 UTC" in words(person.get(run.page))
    parent = Made(api)
    child = Made(api, parent=parent, claimed=False)
    parent.wait("event", tool_call_id="run:x", awaited_run_id=child.id)
    page = person.get(parent.page)
    assert "Waiting for a run below it to end." in words(page)
    assert "Bring what it waits for" not in page.text


def test_the_timeline_is_a_list_and_a_picture(person, api):
    run = Made(api)
    run.step("fetch")
    run.append(*call(), result("nothing", isError=True))
    run.end_step("fetch")
    page = person.get(f"{run.page}?view=timeline")
    assert "fetch , step, done" in words(page)
    assert "search , tool, failed" in words(page)
    assert '<rect class="bar tool failed"' in page.text
    assert "<title>search (tool), failed," in page.text


def test_a_timeline_goes_on_where_a_page_had_no_room_for_more(person, api):
    run = Made(api)
    for first in range(1, 601, 50):
        run.append(
            *(
                {"type": kind, "stepName": f"s{n}", "stepId": str(n)}
                for n in range(first, first + 50)
                for kind in ("STEP_STARTED", "STEP_FINISHED")
            )
        )
    page = person.get(f"{run.page}?view=timeline").text
    assert ">s500<" in page
    assert ">s501<" not in page
    more = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    after = person.get(more).text
    assert ">s501<" in after
    assert ">s600<" in after
    assert ">s500<" not in after
    newest = person.get(run.page).text
    assert "The whole timeline" in newest
    assert ">s600<" in newest
    assert ">s540<" not in newest


def test_a_conversation_shows_its_last_words_and_leads_to_earlier_ones(person, api):
    run = Made(api)
    run.append(begin("first"), say("In the beginning", "first"), *call(), result("42"))
    for _ in range(4):
        run.append(begin(), *(say("la ") for _ in range(99)))
    run.append(say("the end"))
    page = person.get(f"{run.page}?view=conversation")
    assert "the end" in words(page)
    assert "In the beginning" not in words(page)
    earlier = page.text.partition("before=")[2].partition('"')[0]
    before = person.get(f"{run.page}?view=conversation&before={earlier}")
    for said in ("In the beginning", "search answered", "42", "The newest"):
        assert said in words(before)


def test_the_log_of_a_running_run_is_what_it_has_told(person, api):
    run = Made(api)
    run.log("one\ntwo\n")
    run.append({"type": "CUSTOM", "name": "run.output", "value": {"stream": "stdout", "text": "three\n"}})
    told = words(person.get(f"{run.page}?view=log"))
    assert "one two three" in told
    assert "two" not in words(person.get(f"{run.page}?view=log&q=one")).partition("Download")[2]
    assert person.get(f"{run.page}/log").text == "one\ntwo\nthree\n"


def test_the_log_of_an_ended_run_is_what_it_left(person, api):
    run = Made(api)
    run.log("told on the way\n")
    run.complete(logs="".join(f"line {n}\n" for n in range(1_500)))
    page = person.get(f"{run.page}?view=log")
    assert "500 earlier lines are in the download." in words(page)
    assert "line 1499" in page.text
    assert "line 499<" not in page.text
    assert "line 7<" in person.get(f"{run.page}?view=log&q=line+7").text
    whole = person.get(f"{run.page}/log")
    assert whole.text.count("\n") == 1_500
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "attachment" in whole.headers["content-disposition"]


def test_events_are_read_in_pages_and_by_type(person, api):
    run = Made(api)
    for _ in range(2):
        run.append(*({"type": "A", "n": n} for n in range(100)))
    run.append({"type": "B", "deep": {"er": 1}})
    first = person.get(f"{run.page}?view=events").text
    assert 'id="event-100"' in first
    assert 'id="event-101"' not in first
    following = (
        first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    )
    assert 'id="event-101"' in person.get(following).text
    assert 'id="event-201"' in person.get(f"{run.page}?view=events&from=end").text
    only = person.get(f"{run.page}?view=events&type=B")
    assert only.text.count('<tr id="event-') == 1
    assert '"er": 1' in words(only)
    assert "No event here." in words(person.get(f"{run.page}?view=events&type=C"))
    lines = person.get(f"{run.page}/events.ndjson").text.splitlines()
    assert len(lines) == 201
    assert json.loads(lines[-1]) == {"type": "B", "deep": {"er": 1}}
    assert len(person.get(f"{run.page}/events.ndjson?type=B").text.splitlines()) == 1


VIEWS = ("overview", "timeline", "conversation", "log", "events", "tree", "nonsense")


@pytest.mark.parametrize("view", VIEWS)
def test_every_part_of_a_run_can_be_read_in_every_state(person, api, view):
    pending, paused, over = Made(api, claimed=False), Made(api), Made(api)
    api.post(f"/runs/{paused.id}/pause")
    over.complete("cancelled")
    asking = Asking(api, {"name": "city", "label": "City", "type": "text"})
    for run in (pending, paused, over, asking):
        page = person.get(f"{run.page}?view={view}")
        assert '<nav class="tabs"' in page.text
        assert ("sse-connect" in page.text) == (run is not over)


@pytest.mark.parametrize(
    "query", ["from=x", "from=99999999", "before=0", "before=-1", "type=%00", "from=1&type=%0a"]
)
@pytest.mark.parametrize("view", ["timeline", "conversation", "events"])
def test_an_address_that_makes_no_sense_shows_a_page_all_the_same(person, api, view, query):
    run = Made(api)
    run.append(begin(), say("words"))
    person.get(f"{run.page}?view={view}&{query}")


def test_who_only_reads_is_offered_nothing_to_change(server, api):
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader, run = Person(server, key), Made(api)
    assert "Cancel" not in reader.get(run.page).text
    assert "runs:write" in words(reader.post(f"{run.page}/cancel", 403))
    assert run.stored()["status"] == "running"
    reader.close()
