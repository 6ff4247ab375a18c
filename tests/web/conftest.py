"""Fixtures for the dashboard: the real server program and Debian's Chromium."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.server import Server

from .browser import Tab

CHROMIUM = os.environ.get("RUNSTEAD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
#: Set in CI, where skipped browser tests would go unnoticed.
REQUIRED = os.environ.get("RUNSTEAD_REQUIRE_BROWSER") == "1"


@pytest.fixture(scope="module")
def chromium():
    """The browser, started once for each file.

    While it runs, Playwright's event loop occupies the thread, so async tests of other files could not run.
    """
    if CHROMIUM is None:
        assert not REQUIRED, (
            "RUNSTEAD_REQUIRE_BROWSER is set, but chromium is missing: apt-get install chromium"
        )
        pytest.skip("chromium is missing: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def pytest_generate_tests(metafunc):
    """Run on SQLite, and with the mark `long` on PostgreSQL: tests/store proves that the engines are equal.

    A file in which the engine can matter has the mark `postgres`, and runs on both.
    """
    named = any("engine" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and not named:
        on_postgres = metafunc.definition.get_closest_marker("postgres")
        engines = ["sqlite", pytest.param("postgres", marks=() if on_postgres else pytest.mark.long)]
        metafunc.parametrize("engine", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request):
    """The engine of the server's store."""
    return request.param


@pytest.fixture(scope="module")
def server(engine, request, tmp_path_factory):
    """A server with an empty store, for all tests of a file."""
    folder: Path = tmp_path_factory.mktemp("web")
    # No test of a page is about what a machine without power loses.
    settings = {"RUNSTEAD_ARTIFACTS_URL": f"file://{folder}/artifacts", "RUNSTEAD_SQLITE_SYNCHRONOUS": "OFF"}
    if engine == "sqlite":
        started = Server(folder, folder / "runstead.db", **settings).start()
        yield started
        started.kill()
        return
    databases = request.getfixturevalue("databases")
    name = databases.lease()
    started = Server(folder, databases.server.url(name), **settings).start()
    yield started
    started.kill()
    databases.give_back(name)


@pytest.fixture
def api(server):
    with server.api() as api:
        yield api


@pytest.fixture(scope="module")
def _signed_in():
    """Session cookies by server and key, so that each file signs in only once."""
    return {}


@pytest.fixture
def new_tab(chromium, server):
    """new_tab(): a tab of a new browser context, without a session.

    At the end of the test, no tab may have recorded an error.
    """
    tabs = []

    def make(of=server, **context):
        tabs.append(Tab(chromium.new_context(base_url=of.url, **context), of.url))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.close()
    for tab in tabs:
        assert tab.errors == []


@pytest.fixture
def open_tab(new_tab, server, _signed_in):
    """open_tab(path): opens a page of the dashboard in a new, signed-in browser context."""

    def make(path="/ui", *, of=server, key=None, **context):
        tab = new_tab(of, **context)
        account = of.url, key or of.key
        tab.context.add_cookies(_signed_in.get(account, []))
        tab.open(path)
        if "/ui/sign-in" in tab.page.url:  # not signed in yet, or a test ended the session
            tab.sign_in(account[1])
            _signed_in[account] = tab.context.cookies()
            tab.open(path)
        return tab

    return make


@pytest.fixture
def tab(open_tab):
    """A signed-in tab at the list of runs."""
    return open_tab("/ui/projects/default/runs")
