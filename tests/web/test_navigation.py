"""What a person meets between pages: navigation everywhere, addresses, rows, chips and pages that are not found."""

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
    assert "Not found Run not found" in text
    assert f"At {RUNS}/run_gone ." in text


def test_a_chip_filters_at_once_and_empty_fields_stay_out_of_the_address(open_tab, api):
    run = TaskRun(api, title="Opened by its row")
    tab = open_tab(LIST)
    tab.page.locator(".pill", has_text="running").click()
    tab.page.wait_for_url(lambda url: url.endswith("/runs?status=running"))
    tab.page.locator("#rows tr", has_text="Opened by its row").locator(".created").click()
    expect(tab.page.get_by_role("heading", name="Opened by its row")).to_be_visible()
    assert tab.page.url.endswith(run.page)
    expect(tab.page.get_by_role("button", name="Copy the id of the run")).to_be_visible()
