"""The page of workers and push services."""

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .plain_browser import PlainBrowser

PAGE = "/ui/projects/default/workers"
HOSTILE = '<script>alert(1)</script>\u202e"\x1b[31m'


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture
def project(api):
    return api.project_id()


def register_service(api, key, **fields):
    body = {"service_name": "scribe", "service_key": key, "scope_kind": "project", "project_id": "default"}
    body |= {"base_url": "https://example.com", "invoke_url": "https://example.com/runs"}
    return api.post("/agent-runtimes/push-services", body | fields)["service"]["id"]


def row_of(page, name):
    """The row of the table that contains this name."""
    return next(row for row in page.split("<tr") if name in row)


def test_a_worker_is_shown_with_the_runs_that_it_holds(browser, api, project):
    worker = api.register("holder")
    made = api.create(project, "task:held", name="Count the boxes")
    api.claim(worker, "task:held")
    row = row_of(browser.page(PAGE), "holder")
    assert "online" in row
    assert "e2e" in row
    assert f"/ui/projects/default/runs/{made['run_id']}" in row
    assert "Count the boxes" in row
    api.complete(made["run_id"])
    assert "none" in row_of(browser.page(PAGE), "holder")


def test_many_held_runs_are_linked_and_the_rest_counted(browser, api, project):
    worker = api.register("busy")
    for _ in range(7):
        api.create(project, "task:many")
        api.claim(worker, "task:many")
    row = row_of(browser.page(PAGE), "busy")
    assert row.count("/runs/") == 5
    assert "and 2 more" in row


def test_workers_are_shown_by_their_status(browser, api):
    api.register("here")
    assert "here" in browser.page(f"{PAGE}?show=online")
    assert "No worker is offline." in browser.page(f"{PAGE}?show=offline")


def test_a_workers_metadata_is_shown_as_text(browser, api):
    body = {"implementation_kind": "e2e", "worker_key": "evil", "display_name": HOSTILE}
    body |= {"metadata": {"note": HOSTILE}, "implementation_display_name": HOSTILE}
    api.post("/agent-workers/projects/default/workers", body)
    page = browser.page(PAGE)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in page


def test_an_invalid_cursor_is_refused(browser):
    answer = browser.get(f"{PAGE}?cursor=nonsense")
    assert answer.status_code == 400
    assert "cursor is not from this list" in answer.text


def test_a_worker_is_removed_with_its_tokens_and_attempts(browser, api, project):
    worker = api.register("stolen")
    made = api.create(project, "task:stolen")
    api.claim(worker, "task:stolen")
    flash = browser.flash_after(browser.send(PAGE, f"/workers/{worker}/remove"))
    assert flash.startswith("The worker was removed")
    assert "stolen" not in browser.page(PAGE)
    assert api.get(f"/runs/{made['run_id']}")["status"] == "pending"


def test_a_reader_cannot_remove_a_worker(server, api):
    worker = api.register("kept")
    made = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read", "runs:write"]})
    with PlainBrowser(server.url, made["key"]) as reader:
        assert f"{worker}/remove" not in reader.page(PAGE)
        _, fields = reader.form(PAGE, "/ui/sign-out")
        answer = reader.http.post(f"/ui/projects/default/workers/{worker}/remove", data=fields)
        assert answer.status_code == 403
    assert "kept" in PlainBrowser(server.url, server.key).page(PAGE)


def test_a_push_service_is_shown_and_disabled(browser, api):
    service = register_service(api, "one", agent_id="writer", version="1.2", metadata={"zone": "north"})
    row = row_of(browser.page(PAGE), "scribe")
    for shown in ("active", "writer", "this project", "1.2", "https://example.com/runs", "north"):
        assert shown in row, shown
    flash = browser.flash_after(browser.send(PAGE, f"/push-services/{service}/disable"))
    assert flash.startswith("scribe was disabled")
    row = row_of(browser.page(PAGE), "scribe")
    assert "disabled" in row
    assert "It is enabled when it registers again" in row
    flash = browser.flash_after(browser.send(PAGE, f"/push-services/{service}/enable"))
    assert flash == "scribe was enabled. It gets runs again."
    assert "active" in row_of(browser.page(PAGE), "scribe")


def test_a_push_service_shows_its_last_error(browser, api):
    # The name has no address (RFC 2606), so the service is not reached.
    where = {"base_url": "https://broken.invalid", "invoke_url": "https://broken.invalid/runs"}
    register_service(api, "broken", service_name="broken", agent_id="broken", **where)
    conversation = api.post("/conversations")["id"]
    body = {"kind": "agent", "owner": {"kind": "conversation", "id": conversation}}
    body |= {"public_id": "broken-run", "request": {"agent_id": "broken", "input": {}}}
    api.post("/runs", body)
    until(lambda: "The push service was not reached" in browser.page(PAGE), "the error")
    row = row_of(browser.page(PAGE), "broken")
    assert "/ui/projects/default/runs/broken-run" in row


def test_a_push_service_is_deleted(browser, api):
    service = register_service(api, "two", service_name="deleted")
    flash = browser.flash_after(browser.send(PAGE, f"/push-services/{service}/delete"))
    assert flash.startswith("deleted was deleted")
    assert service not in browser.page(PAGE)


def test_a_reader_cannot_disable_a_push_service(server, api):
    service = register_service(api, "guarded", service_name="guarded")
    made = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})
    with PlainBrowser(server.url, made["key"]) as reader:
        page = reader.page(PAGE)
        assert "guarded" in page
        assert f"{service}/disable" not in page
        _, fields = reader.form(PAGE, "/ui/sign-out")
        answer = reader.http.post(f"/ui/projects/default/push-services/{service}/disable", data=fields)
        assert answer.status_code == 403
    assert api.get(f"/agent-runtimes/push-services/{service}")["service"]["status"] == "active"


def test_the_page_refreshes_and_keeps_open_details(open_tab, api, project):
    worker = api.register("watched")
    tab = open_tab(PAGE)
    row = tab.page.get_by_role("row").filter(has_text="watched")
    row.get_by_text("Details").click()
    row.get_by_text("Details").focus()
    expect(row).to_contain_text("none")
    made = api.create(project, "task:watched", name="Seen live")
    api.claim(worker, "task:watched")
    expect(row.get_by_role("link", name="Seen live")).to_be_visible()
    expect(row.get_by_text(worker)).to_be_visible()
    assert tab.page.evaluate("document.activeElement.textContent") == "Details"
    api.complete(made["run_id"])


def test_workers_are_paged(browser, api):
    for number in range(51):
        body = {"implementation_kind": "zzz", "worker_key": f"w{number:03}"}
        api.post("/agent-workers/projects/default/workers", body)
    seen, path = "", PAGE
    while path:
        page = browser.page(path)
        seen += page
        path = page.partition('<p class="paging"><a href="')[2].partition('"')[0]
    assert all(f"w{number:03}" in seen for number in range(51))


def test_a_version_is_shown_until_no_run_needs_it(browser, api, project):
    def claim(key, version):
        body = {"implementation_kind": "e2e", "worker_key": key, "version": version}
        worker = api.post(f"/agent-workers/projects/{project}/workers", body)["worker"]["id"]
        return api.claim(worker, "task:versioned")

    body = {"kind": "task", "owner": {"kind": "project", "id": project}, "pinned": True}
    made = api.post("/runs", body | {"request": {"target": "task:versioned"}})["run"]
    claim("before", f"old {HOSTILE}"[:40].replace("\x1b", ""))
    claim("after", "next")
    page = browser.page(PAGE)
    assert "<script>alert" not in page
    assert "needed" in row_of(page, "old &lt;script")
    assert "in use" not in row_of(page, "old &lt;script")
    api.complete(made["run_id"])
    assert "drained: no pinned run needs it" in row_of(browser.page(PAGE), "old &lt;script")
