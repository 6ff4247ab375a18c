"""The pages of batches: the list, live progress, cancel and retry."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .web_client import WebClient, hidden, page_text

PLACE = "/ui/projects/default/batches"


@pytest.fixture(scope="module")
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


@pytest.fixture
def worker(api):
    return api.register("batches")


def made(api, count, target="task:count", **members):
    """Create a batch of `count` runs."""
    runs = [{"kind": "task", "request": {"target": target}} for _ in range(count)]
    return api.post("/projects/default/batches", {"runs": runs, **members})["batch"]


def work(api, worker, count, status="completed", target="task:count"):
    """Claim and complete `count` runs."""
    for _ in range(count):
        run = api.claim(worker, target)
        api.complete(run["run_id"], status)


def place(batch):
    return f"{PLACE}/{batch['id']}"


def bar(page):
    """The segments of the first bar: state → width in percent."""
    svg = page.text.partition('<svg class="bar"')[2].partition("</svg>")[0]
    return {
        state: float(width) for state, width in re.findall(r'bar-(\w+)" x="[\d.]+" width="([\d.]+)"', svg)
    }


def test_the_page_shows_a_batchs_progress(web_client, api, worker):
    batch = made(api, 8, "task:far", name="Far")
    work(api, worker, 3, target="task:far")
    work(api, worker, 1, "failed", target="task:far")
    page = web_client.get(place(batch))
    assert "50 % 4 of 8 runs have ended" in page_text(page)
    assert bar(page) == {"completed": 37.5, "failed": 12.5, "pending": 50}
    assert "4 of 8 ended, 3 completed, 1 failed, 4 pending" in page.text
    assert f'href="/ui/projects/default/runs?batch={batch["id"]}&amp;status=failed"' in page.text
    assert "left, at the current rate" in page_text(page)
    assert page_text(page).count("failed") >= 3, "the failed runs stand in a list of their own"


def test_a_batch_that_has_not_started_shows_no_estimate(web_client, api):
    assert "No run has started yet." in page_text(web_client.get(place(made(api, 1, "task:never"))))


def test_the_list_is_paged(web_client, api):
    batches = [made(api, 1, "task:never", name=f"Number {number}") for number in range(52)]
    first = web_client.get(PLACE)
    assert batches[-1]["id"] in first.text
    assert batches[0]["id"] not in first.text
    older = re.search(r'href="([^"]*before=\d+)" rel="next"', first.text)[1]
    second = web_client.get(older)
    assert batches[0]["id"] in second.text
    assert batches[-1]["id"] not in second.text
    web_client.get(f"{PLACE}?before=nonsense", 400)


def test_a_batch_is_cancelled(web_client, api):
    batch = made(api, 3, "task:never", name="Off")
    text = web_client.submit(f"{place(batch)}/cancel", reason="No longer needed")
    assert "The batch was cancelled." in text
    assert "No longer needed" in text
    assert "cancelled 3" in text
    assert api.get(f"/projects/default/batches/{batch['id']}")["status"] == "cancelled"
    again = web_client.get(place(batch))
    assert "Cancel the batch" not in page_text(again)
    assert "sse-connect" not in again.text
    assert "The batch is already cancelled." in web_client.submit(f"{place(batch)}/cancel")


def test_the_follow_up_run_is_linked(web_client, api, worker):
    batch = made(api, 1, "task:before", on_complete={"target": "task:after"})
    assert "task:after" in page_text(web_client.get(place(batch)))
    work(api, worker, 1, target="task:before")
    run = api.claim(worker, "task:after", wait_s=10)
    # The batch names it a moment after it exists.
    link = f"/ui/projects/default/runs/{run['run_id']}"
    until(lambda: link in web_client.get(place(batch)).text, "the link to the follow-up run")


def test_failed_runs_are_retried_as_a_new_batch(web_client, api, worker):
    batch = made(api, 3, "task:again", name="Again")
    work(api, worker, 2, "failed", target="task:again")
    assert "again as" not in page_text(web_client.get(place(batch)))
    web_client.post(f"{place(batch)}/retry", 409)
    work(api, worker, 1, target="task:again")
    page = web_client.get(place(batch))
    assert "Retry the failed runs" in page_text(page)
    form = {"form_token": hidden(page, "form_token")}
    text = web_client.submit(f"{place(batch)}/retry", **form)
    assert "This new batch retries 2 runs." in text
    assert "0 of 2 runs have ended" in text
    assert "was created when the form was first sent" in web_client.submit(f"{place(batch)}/retry", **form)
    assert api.get("/projects/default/batches", limit=3)["data"][1]["id"] == batch["id"]


def test_cancelled_runs_are_retried_on_request(web_client, api, worker):
    batch = made(api, 3, "task:mixed")
    work(api, worker, 1, "failed", target="task:mixed")
    web_client.post(f"{place(batch)}/cancel")
    assert "also the cancelled runs" in page_text(web_client.get(place(batch)))
    assert "This new batch retries 1 run." in web_client.submit(f"{place(batch)}/retry")
    assert "This new batch retries 3 runs." in web_client.submit(f"{place(batch)}/retry", cancelled="1")
    alone = made(api, 1, "task:never")
    web_client.post(f"{place(alone)}/cancel")
    assert "Retry the cancelled runs" in page_text(web_client.get(place(alone)))


def test_a_reader_cannot_cancel_or_retry_a_batch(server, api):
    batch = made(api, 1, "task:never")
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader = WebClient(server, key)
    assert "Cancel the batch" not in page_text(reader.get(place(batch)))
    reader.post(f"{place(batch)}/cancel", 403)
    reader.post(f"{place(batch)}/retry", 403)
    assert api.get(f"/projects/default/batches/{batch['id']}")["status"] == "running"
    reader.close()


def test_a_missing_batch_is_not_found(web_client):
    for path in ("", "/live"):
        web_client.get(f"{PLACE}/00000000-0000-0000-0000-000000000000{path}", 404)


def test_a_hostile_name_is_shown_as_text(web_client, api):
    batch = made(api, 1, "task:never", name="<script>alert(1)</script>\u202e")
    for page in (web_client.get(PLACE), web_client.get(place(batch))):
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
    assert tab.accessibility_violations() == []
    work(api, worker, 1, "failed", target="task:watched")
    work(api, worker, 2, target="task:watched")
    expect(percent).to_have_text("100 %")
    expect(page.locator(".estimate")).to_contain_text("Ended")
    expect(page.get_by_role("button", name="Cancel the batch")).to_have_count(0)
    assert page.evaluate("window.here") is True
    page.get_by_role("button", name="Retry the failed runs").click()
    expect(page.locator("#flash")).to_contain_text("This new batch retries 1 run.")


def test_lists_are_updated_live(open_tab, api, worker):
    batch = made(api, 2, "task:listed", name="Listed")
    tab = open_tab(place(batch))
    newest, failed = tab.page.locator("#newest-runs"), tab.page.locator("#failed-runs")
    expect(failed).to_contain_text("None so far.")
    run = tab.page.get_by_role("group", name="Newest runs").get_by_role("link").first
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


def test_a_browser_confirms_before_a_batch_is_cancelled(open_tab, api):
    batch = made(api, 2, "task:never", name="Asked")
    tab = open_tab(place(batch))
    page = tab.page
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.locator("#toasts")).to_contain_text("The batch was cancelled.")


def test_a_completed_batch_with_failures_is_shown_as_such(web_client, api, worker):
    batch = made(api, 2, target="task:half")
    work(api, worker, 1, target="task:half")
    work(api, worker, 1, "failed", target="task:half")
    assert api.get(f"/projects/default/batches/{batch['id']}")["status"] == "completed"
    for path in (place(batch), PLACE):
        page = web_client.get(path)
        assert 'class="status status-completed_with_failures"' in page.text
        assert "completed with failures" in page_text(page)
