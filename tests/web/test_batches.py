"""The pages of batches: the list, one as it goes on, and calling it off."""

import re

import pytest
from playwright.sync_api import expect

from .web_client import Person, fits, hidden, words

PLACE = "/ui/projects/default/batches"


@pytest.fixture(scope="module")
def person(server):
    person = Person(server)
    yield person
    person.close()


@pytest.fixture
def worker(api):
    return api.register("batches")


def made(api, count, target="task:count", **members):
    """A batch of so many runs."""
    runs = [{"kind": "task", "request": {"target": target}} for _ in range(count)]
    return api.post("/projects/default/batches", {"runs": runs, **members})["batch"]


def work(api, worker, count, status="completed", target="task:count"):
    """End so many runs."""
    for _ in range(count):
        run = api.claim(worker, target)
        api.complete(run["run_id"], status)


def place(batch):
    return f"{PLACE}/{batch['id']}"


def bar(page):
    """The parts of the first bar: state → width in percent."""
    svg = page.text.partition('<svg class="bar"')[2].partition("</svg>")[0]
    return {
        state: float(width) for state, width in re.findall(r'bar-(\w+)" x="[\d.]+" width="([\d.]+)"', svg)
    }


def test_the_pages_keep_nobody_out_and_fit_every_width(open_tab, api, worker):
    batch = made(api, 5, "task:wide", name="A batch with a rather long name " * 5)
    work(api, worker, 1, target="task:wide")
    work(api, worker, 1, "failed", target="task:wide")
    tab = open_tab(PLACE)
    assert tab.serious() == []
    assert fits(tab, 360, 1280, 2560)
    tab.open(place(batch))
    assert tab.serious() == []
    assert fits(tab, 360, 1280, 2560)


def test_a_page_tells_how_far_a_batch_is(person, api, worker):
    batch = made(api, 8, "task:far", name="Far")
    work(api, worker, 3, target="task:far")
    work(api, worker, 1, "failed", target="task:far")
    page = person.get(place(batch))
    assert "50 % 4 of 8 runs have ended" in words(page)
    assert bar(page) == {"completed": 37.5, "failed": 12.5, "pending": 50}
    assert "4 of 8 ended, 3 completed, 1 failed, 4 pending" in page.text
    assert f'href="/ui/projects/default/runs?batch={batch["id"]}&amp;status=failed"' in page.text
    assert "left, at the pace of late" in words(page)
    assert words(page).count("failed") >= 3, "the failed runs stand in a list of their own"


def test_a_batch_that_has_not_started_says_so(person, api):
    assert "No run has started yet." in words(person.get(place(made(api, 1, "task:never"))))


def test_the_list_is_paged(person, api):
    batches = [made(api, 1, "task:never", name=f"Number {number}") for number in range(52)]
    first = person.get(PLACE)
    assert batches[-1]["id"] in first.text
    assert batches[0]["id"] not in first.text
    older = re.search(r'href="([^"]*before=\d+)" rel="next"', first.text)[1]
    second = person.get(older)
    assert batches[0]["id"] in second.text
    assert batches[-1]["id"] not in second.text
    person.get(f"{PLACE}?before=nonsense", 400)


def test_a_batch_is_called_off(person, api):
    batch = made(api, 3, "task:never", name="Off")
    told = person.told(f"{place(batch)}/cancel", reason="No longer needed")
    assert "The batch was called off." in told
    assert "No longer needed" in told
    assert "cancelled 3" in told
    assert api.get(f"/projects/default/batches/{batch['id']}")["status"] == "cancelled"
    again = person.get(place(batch))
    assert "Cancel the batch" not in words(again)
    assert "sse-connect" not in again.text
    assert "The batch is cancelled already." in person.told(f"{place(batch)}/cancel")


def test_what_follows_is_linked_once_it_is_there(person, api, worker):
    batch = made(api, 1, "task:before", on_complete={"target": "task:after"})
    assert "task:after" in words(person.get(place(batch)))
    work(api, worker, 1, target="task:before")
    run = api.claim(worker, "task:after", wait_s=10)
    assert f"/ui/projects/default/runs/{run['run_id']}" in person.get(place(batch)).text


def test_failed_runs_are_tried_again_as_a_new_batch(person, api, worker):
    batch = made(api, 3, "task:again", name="Again")
    work(api, worker, 2, "failed", target="task:again")
    assert "again as" not in words(person.get(place(batch)))
    person.post(f"{place(batch)}/retry", 409)
    work(api, worker, 1, target="task:again")
    page = person.get(place(batch))
    assert "Try the failed runs again" in words(page)
    form = {"once": hidden(page, "once")}
    told = person.told(f"{place(batch)}/retry", **form)
    assert "2 runs are tried again, in this new batch." in told
    assert "0 of 2 runs have ended" in told
    assert "was made when the form was sent first" in person.told(f"{place(batch)}/retry", **form)
    assert api.get("/projects/default/batches", limit=3)["data"][1]["id"] == batch["id"]


def test_cancelled_runs_are_tried_again_where_that_is_wanted(person, api, worker):
    batch = made(api, 3, "task:mixed")
    work(api, worker, 1, "failed", target="task:mixed")
    person.post(f"{place(batch)}/cancel")
    assert "and the cancelled ones" in words(person.get(place(batch)))
    assert "1 run is tried again" in person.told(f"{place(batch)}/retry")
    assert "3 runs are tried again" in person.told(f"{place(batch)}/retry", cancelled="1")
    alone = made(api, 1, "task:never")
    person.post(f"{place(alone)}/cancel")
    assert "Try the cancelled runs again" in words(person.get(place(alone)))


def test_who_may_only_read_cannot_call_it_off(server, api):
    batch = made(api, 1, "task:never")
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader = Person(server, key)
    assert "Cancel the batch" not in words(reader.get(place(batch)))
    reader.post(f"{place(batch)}/cancel", 403)
    reader.post(f"{place(batch)}/retry", 403)
    assert api.get(f"/projects/default/batches/{batch['id']}")["status"] == "running"
    reader.close()


def test_a_batch_that_is_not_there_is_not_found(person):
    for path in ("", "/live"):
        person.get(f"{PLACE}/00000000-0000-0000-0000-000000000000{path}", 404)


def test_a_hostile_name_is_shown_as_text(person, api):
    batch = made(api, 1, "task:never", name="<script>alert(1)</script>\u202e")
    for page in (person.get(PLACE), person.get(place(batch))):
        assert "<script>alert" not in page.text
        assert "\u202e" not in page.text


def test_a_batch_is_watched_to_its_end_without_a_reload(open_tab, api, worker):
    batch = made(api, 4, "task:watched", name="Watched")
    tab = open_tab(place(batch))
    page = tab.page
    percent = page.locator("#percent")
    expect(percent).to_have_text("0 %")
    page.evaluate("window.here = true")
    page.locator("#count-completed").focus()
    page.get_by_label("Reason").fill("half a sente")
    page.locator("#count-completed").focus()
    work(api, worker, 1, target="task:watched")
    expect(percent).to_have_text("25 %")
    expect(page.get_by_role("img", name="1 of 4 ended, 1 completed, 3 pending")).to_be_visible()
    expect(page.locator("#count-completed")).to_be_focused()
    expect(page.get_by_label("Reason")).to_have_value("half a sente")
    assert tab.serious() == []
    work(api, worker, 1, "failed", target="task:watched")
    work(api, worker, 2, target="task:watched")
    expect(percent).to_have_text("100 %")
    expect(page.get_by_text("Over since")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the batch")).to_have_count(0)
    assert page.evaluate("window.here") is True
    page.get_by_role("button", name="Try the failed runs again").click()
    expect(page.get_by_role("status")).to_contain_text("1 run is tried again")


def test_lists_follow_what_happens(open_tab, api, worker):
    batch = made(api, 2, "task:listed", name="Listed")
    tab = open_tab(place(batch))
    newest, failed = tab.page.locator("#newest-runs"), tab.page.locator("#failed-runs")
    expect(failed).to_contain_text("None so far.")
    run = tab.page.get_by_role("region", name="Newest runs").get_by_role("link").first
    run.focus()
    work(api, worker, 1, "failed", target="task:listed")
    expect(failed.get_by_role("link")).to_have_count(1)
    expect(newest).to_contain_text("failed")
    expect(run).to_be_focused()
    tab.open(PLACE)
    row = tab.page.get_by_role("row", name="Listed")
    expect(row).to_contain_text("50 %")
    work(api, worker, 1, target="task:listed")
    expect(row).to_contain_text("100 %")
    expect(row).to_contain_text("completed")


def test_a_batch_is_called_off_with_a_browser_after_a_question(open_tab, api):
    batch = made(api, 2, "task:never", name="Asked")
    tab = open_tab(place(batch))
    page = tab.page
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_role("status")).to_contain_text("The batch was called off.")
