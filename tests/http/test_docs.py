"""`/docs`: all of `/openapi.json` on one page without external resources."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from runstead.core.errors import CODES, RUN_CODES
from runstead.http.framework.app import operations
from runstead.http.openapi.names import operation_id

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page. Fails if tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.headings, self.open, self.rows = [], [], [], [], [], {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "tr" and "id" in found:
            self.rows[found["id"]] = ""
        if tag not in VOID:
            self.open.append((tag, found.get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for tag, name in self.open:
            if tag == "tr" and name is not None:
                self.rows[name] += data + " "


@pytest.fixture
async def response(driver):
    found = await driver.send("GET", "/docs", by=None)
    assert found.status_code == 200
    return found


@pytest.fixture
def page(response):
    return Page(response.text)


async def test_the_page_has_no_scripts_and_no_external_resources(response, page):
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert not {"script", "img", "iframe", "link", "form", "object"} & {tag for tag, _ in page.tags}
    assert not any(
        name.startswith("on") or name in {"style", "src"} for _, found in page.tags for name in found
    )
    assert [link for link in page.links if not link.startswith("#")] == ["/openapi.json"]
    assert "url(" not in style
    assert "@import" not in style


async def test_every_link_has_a_target_and_every_anchor_is_unique(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


async def test_every_error_code_has_a_row_that_its_problem_links_to(driver, page):
    assert set(page.rows) == {*CODES, *RUN_CODES}
    assert "409" in page.rows["RUN_ID_CONFLICT"]
    assert "lease" in page.rows["LEASE_EXPIRED"]
    problem = await driver.refused(404, "NOT_FOUND", "GET", "/runs/unknown")
    path, _, anchor = problem["type"].partition("#")
    assert path == "/docs"
    assert anchor in page.rows


async def test_every_operation_is_listed_with_its_parameters(response, page):
    shown = re.findall(r'<h3 id="(\w+)">', response.text)
    assert len(shown) >= len(operations())
    for operation in operations():
        assert operation_id(operation.tag, operation.handler.__name__) in page.ids
        assert operation.path in response.text.replace("<wbr>", "")
    for found in (
        "expected_previous_event_id",
        "5 to 300",
        "1 to 128 characters",
        "1 to 100 items",
        "Last-Event-ID",
    ):
        assert found in response.text


async def test_each_kind_of_run_links_to_its_request(response):
    for kind in ("agent", "task", "eval", "workflow"):
        body = f'<a href="#object-Create{kind.title()}Run">'
        assert re.search(rf"<code>kind: {kind}</code>: {body}", response.text)
        assert f'<a href="#object-{kind.title()}Request">' in response.text


async def test_the_page_has_landmarks_and_headings(page):
    tags = [tag for tag, _ in page.tags]
    assert [tags.count(tag) for tag in ("nav", "main", "header", "h1")] == [1, 1, 1, 1]
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert ("html", {"lang": "en"}) in page.tags
    assert page.links[0] == "#main"  # the skip link for keyboard users


async def test_the_page_supports_dark_mode_and_narrow_screens(response):
    assert 'content="width=device-width, initial-scale=1"' in response.text
    assert "prefers-color-scheme: dark" in response.text
    assert "max-width: 40rem" in response.text
