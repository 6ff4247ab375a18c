"""What a person meets between pages: navigation everywhere, addresses, rows, chips and pages that are not found."""

import re

import pytest
from playwright.sync_api import expect

from .run_lists import LIST
from .run_pages import RUNS, TaskRun
from .web_client import WebClient, page_text


@pytest.fixture
def web_client(server):
    client = WebClient(server)
    yield client
    client.close()


@pytest.mark.parametrize("path", ["/ui/system?project=default", "/ui/sessions", "/ui/nothing"])
def test_pages_without_a_project_keep_the_navigation(web_client, path):
    page = web_client.get(path, status=404 if "nothing" in path else 200).text
    assert 'href="/ui/projects/default/schedules"' in page


def test_a_page_that_is_not_found_shows_what_was_not_found(web_client):
    text = page_text(web_client.get(f"{RUNS}/run_gone", status=404))
    assert "Not found No run run_gone in project default" in text
    assert f"At {RUNS}/run_gone ." in text
    text = page_text(web_client.get("/ui/projects/default/webhooks/w-1", status=404))
    assert "No webhook w-1 in project default" in text
    assert "No project gone" in page_text(web_client.get("/ui/projects/gone/runs", status=404))


def test_a_chip_filters_at_once_and_empty_fields_stay_out_of_the_address(open_tab, api):
    run = TaskRun(api, title="Opened by its row")
    tab = open_tab(LIST)
    tab.page.locator(".pill", has_text="running").click()
    tab.page.wait_for_url(lambda url: url.endswith("/runs?status=running"))
    tab.page.locator("#rows tr", has_text="Opened by its row").locator(".created").click()
    expect(tab.page.get_by_role("heading", name="Opened by its row")).to_be_visible()
    assert tab.page.url.endswith(run.page)
    expect(tab.page.get_by_role("button", name="Copy the id of the run")).to_be_visible()


def test_actions_stay_on_the_page_and_announce_their_outcome(open_tab, api):
    run = TaskRun(api, claimed=False, title="Paused in place")
    tab = open_tab(run.page)
    page, toasts = tab.page, tab.page.locator("#toasts[role=status]")
    page.evaluate("window.stayed = true")
    icon = page.locator("link[rel=icon]")
    expect(icon).to_have_attribute("href", re.compile("icon-pending"))
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(toasts).to_contain_text("The run was paused.")
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_visible()
    page.get_by_text("Cancel…").click()
    page.get_by_label("Reason (optional)").fill("Not needed")
    page.get_by_role("button", name="Cancel the run").click()
    expect(toasts).to_contain_text("The run was cancelled.")
    expect(page.get_by_role("link", name="Start again with changes…")).to_be_visible()
    expect(icon).to_have_attribute("href", re.compile("icon-cancelled"))
    # A refused action is shown, and the page stays.
    api.http.delete(f"/runs/{run.id}").raise_for_status()
    page.get_by_role("button", name="Retry").click()
    expect(toasts.get_by_role("alert")).to_contain_text("Run not found")
    assert page.evaluate("window.stayed")
    # An outcome on another page is announced there.
    other = TaskRun(api, title="Deleted")
    other.complete()
    tab.open(other.page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(toasts).to_contain_text("The run was deleted.")
    assert page.url.endswith("/runs")


def test_ids_are_copied_and_keys_move_between_pages_and_rows(open_tab, api):
    run = TaskRun(api, title="Copied")
    tab = open_tab(run.page)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.page
    page.get_by_role("button", name="Copy the id of the run").click()
    expect(page.get_by_role("button", name="Copy the id of the run")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == run.id
    assert "UTC" in page.locator(".run-facts time").first.get_attribute("title")
    page.keyboard.press("g")
    page.keyboard.press("b")
    expect(page.get_by_role("heading", name="Batches")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("link", name="Copied")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#run-head")).to_be_visible()
    tab.open(LIST)
    with tab.context.expect_page() as opened:
        page.locator("#rows tr", has_text="Copied").locator(".created").click(button="middle")
    assert opened.value.url.endswith(run.page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("go to the runs")
