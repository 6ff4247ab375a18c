"""The system page."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .plain_browser import PlainBrowser

PAGE = "/ui/system"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


def tile(page, name):
    return re.search(rf"<dt>{name}</dt><dd>(.*?)</dd>", page, re.DOTALL)[1]


@pytest.mark.postgres
def test_the_server_and_its_store_are_shown_without_a_secret(browser, server):
    page = browser.page(PAGE)
    engine = "PostgreSQL" if "postgres" in str(server.database) else "SQLite"
    assert tile(page, "Engine") == engine
    assert server.url in page
    assert "this one" in page
    address = re.search(r"Database <code>(.*?)</code>", page)[1]
    assert "@" not in address
    assert "password" not in address


@pytest.mark.postgres
def test_the_queue_of_each_project_is_counted(browser, api):
    project = api.project_id()
    for _ in range(3):
        api.create(project, "task:queued")
    worker = api.register("counting")
    api.claim(worker, "task:queued")
    table = browser.page(PAGE).partition("<main")[2]
    row = table.partition("/ui/projects/default/runs")[2].partition("</tr>")[0]
    assert re.findall(r'<td[^>]* class="num">(\d+)</td>', row) == ["2", "0", "1", "0"]


def test_the_loops_and_the_leader_are_shown(open_tab):
    tab = open_tab(PAGE)
    expect(tab.page.get_by_role("row").filter(has_text="deadlines")).to_contain_text(re.compile("ago|now"))
    expect(tab.page.locator(".tiles")).to_contain_text("this server")


@pytest.mark.postgres
def test_the_rate_covers_the_time_since_the_last_refresh(browser, api):
    # A server younger than half a second shows no rate.
    until(lambda: tile(browser.page(PAGE), "Commits per second") != "—", "a rate")
    page = browser.page(PAGE)
    last = dict(re.findall(r'<input type="hidden" name="(replica|at|commits|commands)" value="(.*?)">', page))
    early = last | {"at": str(int(last["at"]) - 10_000)}
    text = browser.http.get(PAGE, params=early, headers={"HX-Request": "true"}).text
    assert "<html" not in text
    assert re.search(
        r"over \d+ min|over 1\d\.\d s|over \d\.\d s|over \d+ ms", tile(text, "Commits per second")
    )
    for wrong in ({"at": "x"}, {"at": "9" * 18}, {"commits": "9" * 18}, {"replica": "other"}):
        assert tile(
            browser.http.get(PAGE, params=early | wrong, headers={"HX-Request": "true"}).text, "Engine"
        )


@pytest.mark.parametrize("scope", ["runs:read", "admin"])
def test_a_caller_without_the_scope_system_sees_only_the_version(server, api, scope):
    made = api.post("/projects/default/api-keys", {"name": "reader", "scopes": [scope]})
    with PlainBrowser(server.url, made["key"]) as reader:
        page = reader.page(PAGE)
        assert "This server runs Runstead" in page
        assert "Only administrators of the instance" in page
        assert server.url not in page
        assert "deadlines" not in page


def test_the_page_refreshes_itself(open_tab, api):
    tab = open_tab(PAGE)
    row = tab.page.get_by_role("row").filter(has_text="default")
    before = int(row.locator("td").first.inner_text())
    api.create(api.project_id(), "task:later")
    expect(row.locator("td").first).to_have_text(str(before + 1))
