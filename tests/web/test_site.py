"""The built site in a browser that reaches no other host: search, colours, error codes and the API reference.

`make docs` builds the site. Without it these tests are skipped, except in CI.
"""

import os
import re
from importlib.resources import files

import httpx2
import pytest
from playwright.sync_api import expect

from runstead.core.errors import CODES, RUN_CODES

BUILT = (files("runstead.web") / "site" / "index.html").is_file()
#: Set in CI, which builds the site.
REQUIRED = os.environ.get("RUNSTEAD_REQUIRE_SITE") == "1"
pytestmark = pytest.mark.skipif(not BUILT and not REQUIRED, reason="the site is missing: make docs")


@pytest.fixture
def open_page(new_tab):
    """open_page(path): opens a page without a session."""

    def make(path, **context):
        tab = new_tab(**context)
        tab.open(path)
        return tab

    return make


def test_the_home_page_leads_to_a_page_by_search(open_page):
    tab = open_page("/docs")
    expect(tab.page).to_have_url(re.compile("/docs/$"))
    expect(tab.page.get_by_role("heading", name="Runstead", level=1)).to_be_visible()
    tab.page.get_by_role("textbox", name="Search").fill("priority fairness")
    tab.page.locator(".md-search-result__link").first.click()
    expect(tab.page).to_have_url(re.compile(r"/docs/queues/"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_follow_the_colours_of_the_system_and_the_choice_is_kept(open_page, scheme):
    tab = open_page("/docs/errors/", color_scheme=scheme)
    body, own = tab.page.locator("body"), {"light": "default", "dark": "slate"}
    expect(body).to_have_attribute("data-md-color-scheme", own[scheme])
    other = "dark" if scheme == "light" else "light"
    tab.page.locator(".md-header label[title]:visible").first.click()
    expect(body).to_have_attribute("data-md-color-scheme", own[other])
    tab.open("/docs/")
    expect(body).to_have_attribute("data-md-color-scheme", own[other])


def test_the_type_of_a_problem_leads_to_the_description_of_its_code(open_page, server):
    problem = httpx2.get(f"{server.url}/runs").json()
    tab = open_page(problem["type"])
    expect(tab.page).to_have_url(re.compile("/docs/errors/#UNAUTHENTICATED$"))
    expect(tab.page.locator("tr:has(:target)")).to_contain_text("There is no credential")
    anchors = tab.page.evaluate("[...document.querySelectorAll('td > a[id]')].map(one => one.id)")
    assert sorted(anchors) == sorted({*CODES, *RUN_CODES})


def test_the_api_reference_shows_the_servers_routes_and_sends_requests(open_page, server):
    tab = open_page("/docs/api-reference/", color_scheme="dark")
    page = tab.page
    page.set_default_timeout(120_000)  # Swagger UI reads the document in a second or two of an idle machine
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("Value").first.fill(server.key)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    page.locator(".opblock-tag", has_text="Administration").click()
    page.locator("#operations-Administration-list_projects .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table")
    expect(answer).to_contain_text('"slug": "default"')
    expect(page.locator("html")).to_have_class(re.compile("dark-mode"))


@pytest.mark.parametrize("path", ["/docs/reference/client/", "/docs/run-lifecycle/"])
def test_pages_with_other_markup_violate_no_policy(open_page, path):
    """Docstrings, tables, code, diagrams: errors of the tab fail the test."""
    expect(open_page(path, viewport={"width": 390, "height": 844}).page.locator("h1")).to_be_visible()


def test_programs_read_all_pages_in_the_order_of_the_navigation(server):
    listed = httpx2.get(f"{server.url}/llms.txt").text
    whole = httpx2.get(f"{server.url}/llms-full.txt").text
    assert listed.startswith("# Runstead\n\n> A self-hosted control plane for durable runs\n")
    sections = re.findall(r"^## (.+)$", listed, re.MULTILINE)
    assert sections[1:] == [
        "Quick start",
        "Concepts",
        "Guides",
        "Deployment",
        "Operate",
        "Reference",
        "Compare",
        "Development",
    ]
    links = re.findall(r"^- \[.+?\]\((/docs/.*?index\.md)\)", listed, re.MULTILINE)
    assert len(links) > 50
    assert re.findall(r"^<!-- (/docs/.*) -->$", whole, re.MULTILINE) == [
        link.removesuffix("index.md") for link in links
    ]
    for link in (links[0], links[-1]):
        page = httpx2.get(server.url + link)
        assert page.headers["content-type"].startswith("text/")
        assert page.text.strip() in whole
    assert "## Context" in whole or "class Context" in whole  # what docstrings say, not their directives
    assert not re.search(r"^::: ", whole, re.MULTILINE)
