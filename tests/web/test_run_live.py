"""A run's page while the run goes on: all of it changes without a reload, and nothing that a reader does is lost."""

import html
import re
import time

import pytest
from playwright.sync_api import expect

from .run_pages import Made, begin, call, result, say
from .web_client import Person


@pytest.fixture
def person(server):
    person = Person(server)
    yield person
    person.close()


def live_path(page):
    return html.unescape(re.search(r'sse-connect="([^"]*)"', page.text)[1])


def told(person, path, last=None):
    """The messages of a stream as they come: (id, event, data)."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    with person.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        members = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                members[name] = members.get(name, "") + value
            elif "event" in members:
                yield int(members.get("id", 0)), members["event"], members["data"]
                members = {}


def test_a_run_is_watched_from_pending_to_completed_without_a_reload(open_tab, api):
    run = Made(api, claimed=False)
    page = open_tab(run.page).page
    head, doing = page.locator("#run-head"), page.locator("#run-actions")
    page.evaluate("window.same = true")
    expect(head).to_contain_text("pending")
    expect(head).to_contain_text("In the queue")
    run.claim()
    expect(head).to_contain_text("running")
    run.step("fetch the rows")
    expect(page.locator("#run-timeline")).to_contain_text("fetch the rows")
    run.append({"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.5, "message": "half"}})
    expect(head).to_contain_text("50 %")
    run.append({"type": "CUSTOM", "name": "run.asked", "value": {"tool_call_id": "a", "question": "Go on?"}})
    run.wait("approval", tool_call_id="a")
    expect(head).to_contain_text("Waiting for an approval.")
    expect(doing).to_contain_text("Go on?")
    api.post(f"/runs/{run.id}/resume", {"type": "approval", "tool_call_id": "a", "result": True})
    expect(doing).not_to_contain_text("Go on?")
    run.end_step("fetch the rows")
    run.complete(output={"rows": 3})
    expect(head).to_contain_text("completed")
    expect(doing.get_by_role("button", name="Retry")).to_be_visible()
    expect(page.locator("#run-results")).to_contain_text('"rows": 3')
    expect(page.locator("#run-timeline .bar.open")).to_have_count(0)
    assert page.evaluate("window.same") is True


def test_what_is_said_is_added_to_what_stands_there(open_tab, api):
    run = Made(api)
    run.append(begin(), say("One "), *call())
    page = open_tab(f"{run.page}?view=conversation").page
    block = page.locator("article.said-text")
    expect(block).to_contain_text("One")
    page.locator("details.said-call summary").click()
    page.evaluate("for (const one of document.querySelectorAll('.said')) one.mine = true")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('article .words'))")
    for word in ("two ", "three ", "fo", "ur <b>5</b>"):
        run.append(say(word))
    run.append(result("the answer"))
    expect(block).to_contain_text("One two three four <b>5</b>")
    expect(page.locator("details.said-call")).to_contain_text("the answer")
    assert page.locator("details.said-call").evaluate("one => one.open && one.mine") is True
    assert block.evaluate("one => one.mine") is True
    assert page.evaluate("getSelection().toString()").startswith("One")
    run.append(begin("n"), say("Another", "n"))
    expect(page.locator("article.said-text")).to_have_count(2)


def test_a_log_is_followed_until_its_reader_looks_back(open_tab, api):
    run = Made(api)
    run.log("".join(f"line {n}\n" for n in range(200)))
    page = open_tab(f"{run.page}?view=log").page
    frame = page.locator("#log-frame")
    at_end = "one => one.scrollTop + one.clientHeight >= one.scrollHeight - 8"
    run.log("the newest\n")
    expect(page.locator("#log li").last).to_have_text("the newest")
    assert frame.evaluate(at_end) is True
    frame.evaluate("one => { one.scrollTop = 0 }")
    expect(page.get_by_label("Follow")).not_to_be_checked()
    run.log("newer still\n")
    expect(page.locator("#log li").last).to_have_text("newer still")
    assert frame.evaluate("one => one.scrollTop") == 0
    page.get_by_label("Follow").check()
    assert frame.evaluate(at_end) is True
    page.get_by_role("searchbox", name="Search").fill("new")
    expect(page.locator("#log li:visible")).to_have_count(2)
    run.log("nothing\nbrand-new\n")
    expect(page.locator("#log li:visible")).to_have_count(3)
    run.complete(logs="what was left\n")
    expect(page.locator("#log li")).to_have_text(["what was left"])


def test_what_a_reader_is_doing_is_not_disturbed(open_tab, api):
    run = Made(api, input={"a": 1})
    page = open_tab(run.page).page
    page.locator("#value-input summary").click()
    page.get_by_text("Cancel…").click()
    field = page.get_by_label("Reason (optional)")
    field.type("Not nee")
    for number in range(5):
        run.step(f"step {number}", str(number))
        expect(page.locator("#run-timeline")).to_contain_text(f"step {number}")
    page.keyboard.type("ded")
    expect(field).to_have_value("Not needed")
    assert page.locator("#value-input").evaluate("one => one.open") is False
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run-head")).to_contain_text("Not needed")


def test_a_family_is_seen_growing(open_tab, api):
    run = Made(api)
    page = open_tab(f"{run.page}?view=tree").page
    child = Made(api, parent=run, title="The one below", claimed=False)
    tree = page.locator("#run-tree")
    expect(tree).to_contain_text("The one below")
    child.complete("failed")
    expect(tree.locator(".status-failed")).to_be_visible(timeout=20_000)


def test_a_stream_goes_on_after_what_was_told(person, api):
    run = Made(api)
    run.append(begin(), say("One "))
    path = live_path(person.get(f"{run.page}?view=conversation"))
    stream = told(person, path)
    next(stream)  # how it stands
    run.append(say("two "))
    number, event, data = next(stream)
    assert (number, event) == (3, "parts")
    assert "two " in data
    assert "One" not in data
    stream.close()
    run.append(say("three"))
    whole = "".join(data for _, _, data in [next(told(person, path, last=number))])
    assert "three" in whole
    assert "two" not in whole
    assert 'data-words="8"' in whole  # where the words go on


def test_a_stream_ends_with_the_run_and_says_so(person, api):
    run = Made(api)
    path = live_path(person.get(run.page))
    stream = told(person, path)
    next(stream)
    run.complete()
    messages = list(stream)
    assert "completed" in messages[0][2]
    assert messages[-1][1] == "end"
    assert [event for _, event, _ in told(person, path)][-1] == "end"


def test_a_page_is_told_at_most_ten_times_a_second(person, api):
    run = Made(api)
    path = live_path(person.get(f"{run.page}?view=conversation"))
    stream = told(person, path)
    next(stream)
    began, count = time.monotonic(), 0
    for _ in range(40):
        run.append(begin(), *(say("word ") for _ in range(20)))
    run.complete()
    words = 0
    for _, _, data in stream:
        count += 1
        words += data.count("word ")
    assert words == 800
    assert count <= (time.monotonic() - began) * 10 + 3


@pytest.mark.parametrize("after", ["x", "-1", "999999999"])
def test_a_place_that_makes_no_sense_is_refused(person, api, after):
    run = Made(api)
    answer = person.http.get(f"{run.page}/live", params={"after": after})
    assert answer.status_code == 400


def test_a_run_that_is_deleted_ends_its_stream(person, api):
    run = Made(api)
    run.complete()
    assert [event for _, event, _ in told(person, f"{run.page}/live?after=0")][-1] == "end"
    api.http.delete(f"/runs/{run.id}").raise_for_status()
    person.get(f"{run.page}/live?after=0", 404)
