"""Two browsers at two replicas with one database."""

import pytest
from playwright.sync_api import expect

from tests.support.server import Server

from .browser import Tab
from .run_lists import LIST, create


@pytest.fixture
def two_servers(databases, tmp_path):
    name = databases.lease()
    servers = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        servers.append(Server(tmp_path / folder, databases.server.url(name)).start())
    yield servers
    for server in servers:
        server.kill()
    databases.give_back(name)


def test_what_happens_at_one_replica_shows_at_the_other(two_servers, chromium):
    tabs = []
    for server in two_servers:
        tab = Tab(chromium.new_context(base_url=server.url), server.url)
        tab.sign_in(server.key)
        tab.open(LIST)
        expect(tab.page.get_by_role("button", name="Live")).to_be_visible()
        tab.page.evaluate("window.mark = 1")
        tabs.append(tab)
    first, _ = two_servers
    with first.api() as api:
        expect(tabs[1].page.get_by_role("heading", name="No runs yet")).to_be_visible()
        run_id = create(api, "task:shared")
        rows = [tab.page.locator("#rows tr") for tab in tabs]
        for row in rows:
            expect(row).to_contain_text("pending")
            expect(row).to_contain_text(run_id)
        api.complete(run_id)
        for row in rows:
            expect(row).to_contain_text("completed")
    for tab in tabs:
        expect(tab.page.get_by_role("heading", name="No runs yet")).to_have_count(0)
        assert tab.page.evaluate("window.mark") == 1
        assert tab.errors == []
        tab.close()
