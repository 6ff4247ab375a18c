"""Live updates of a run's page, which keep what the user does on it."""

import html
import re
import time

import pytest
from playwright.sync_api import expect

from .run_pages import TaskRun, text_delta, text_start, tool_call, tool_result
from .web_client import WebClient


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def live_path(page):
    return html.unescape(re.search(r'sse-connect="([^"]*)"', page.text)[1])


def messages(web_client, path, last=None):
    """Yields the messages of a stream: (id, event, data)."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    with web_client.http.stream("GET", path, headers=headers) as answer:
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
    run = TaskRun(api, claimed=False)
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
    run.append({"type": "CUSTOM", "name": "run.value", "value": {"name": "stage", "value": {"rows": 7}}})
    expect(page.locator("#run-values")).to_contain_text('"rows": 7')
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


def test_new_messages_are_appended_to_the_transcript(open_tab, api):
    run = TaskRun(api)
    run.append(text_start(), text_delta("One "), *tool_call())
    page = open_tab(f"{run.page}?view=conversation").page
    block = page.locator("article.part-text")
    expect(block).to_contain_text("One")
    page.locator("details.part-call summary").click()
    page.evaluate("for (const one of document.querySelectorAll('.part')) one.mine = true")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('article .text'))")
    for word in ("two ", "three ", "fo", "ur <b>5</b>"):
        run.append(text_delta(word))
    run.append(tool_result("the answer"))
    expect(block).to_contain_text("One two three four <b>5</b>")
    expect(page.locator("details.part-call")).to_contain_text("the answer")
    assert page.locator("details.part-call").evaluate("one => one.open && one.mine") is True
    assert block.evaluate("one => one.mine") is True
    assert page.evaluate("getSelection().toString()").startswith("One")
    run.append(text_start("n"), text_delta("Another", "n"))
    expect(page.locator("article.part-text")).to_have_count(2)


def test_a_log_is_followed_until_it_is_scrolled_back(open_tab, api):
    run = TaskRun(api)
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
    page.get_by_role("searchbox", name="Search").fill("")
    page.get_by_label("Level").select_option("warning and above")
    expect(page.locator("#log li:visible")).to_have_count(0)
    expect(page.get_by_text("No matching lines.")).to_be_visible()
    run.log("2026-03-20T12:00:00.000Z ERROR [attempt 1] shop: no route\nTraceback\n")
    expect(page.locator("#log li:visible")).to_have_count(2)
    page.get_by_label("Level").select_option("all")
    run.complete(logs="what was left\n")
    expect(page.locator("#log li")).to_have_text(["what was left"])


def test_updates_do_not_disturb_user_input(open_tab, api):
    run = TaskRun(api, input={"a": 1})
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


def test_a_growing_family_is_shown_live(open_tab, api):
    run = TaskRun(api)
    page = open_tab(f"{run.page}?view=tree").page
    child = TaskRun(api, parent=run, title="The one below", claimed=False)
    tree = page.locator("#run-tree")
    expect(tree).to_contain_text("The one below")
    child.complete("failed")
    expect(tree.locator(".status-failed")).to_be_visible()


def test_a_stream_continues_after_the_last_event(web_client, api):
    run = TaskRun(api)
    run.append(text_start(), text_delta("One "))
    path = live_path(web_client.get(f"{run.page}?view=conversation"))
    stream = messages(web_client, path)
    next(stream)  # the current state
    run.append(text_delta("two "))
    number, event, data = next(stream)
    assert (number, event) == (3, "parts")
    assert "two " in data
    assert "One" not in data
    stream.close()
    run.append(text_delta("three"))
    whole = "".join(data for _, _, data in [next(messages(web_client, path, last=number))])
    assert "three" in whole
    assert "two" not in whole
    assert 'data-offset="8"' in whole  # where the text continues


def test_a_stream_ends_with_the_run(web_client, api):
    run = TaskRun(api)
    path = live_path(web_client.get(run.page))
    stream = messages(web_client, path)
    next(stream)
    run.complete()
    received = list(stream)
    assert "completed" in received[0][2]
    assert received[-1][1] == "end"
    assert [event for _, event, _ in messages(web_client, path)][-1] == "end"


def test_a_page_gets_at_most_ten_messages_a_second(web_client, api):
    run = TaskRun(api)
    path = live_path(web_client.get(f"{run.page}?view=conversation"))
    stream = messages(web_client, path)
    next(stream)
    began, count = time.monotonic(), 0
    for _ in range(40):
        run.append(text_start(), *(text_delta("word ") for _ in range(20)))
    run.complete()
    word_count = 0
    for _, _, data in stream:
        count += 1
        word_count += data.count("word ")
    assert word_count == 800
    assert count <= (time.monotonic() - began) * 10 + 3


@pytest.mark.parametrize("after", ["x", "-1", "999999999"])
def test_an_invalid_position_is_refused(web_client, api, after):
    run = TaskRun(api)
    answer = web_client.http.get(f"{run.page}/live", params={"after": after})
    assert answer.status_code == 400


def test_a_run_that_is_deleted_ends_its_stream(web_client, api):
    run = TaskRun(api)
    run.complete()
    assert [event for _, event, _ in messages(web_client, f"{run.page}/live?after=0")][-1] == "end"
    api.http.delete(f"/runs/{run.id}").raise_for_status()
    web_client.get(f"{run.page}/live?after=0", 404)
