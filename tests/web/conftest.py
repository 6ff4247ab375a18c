"""Fixtures for the dashboard: the real server program and Debian's Chromium."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from runstead.security.stored_secrets import new_key
from tests.support.server import Server

from .browser import Tab

#: The first of these programs that is there. The first has no windows, so it opens a page in a quarter of the time.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = os.environ.get("RUNSTEAD_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
#: Set in CI, where skipped browser tests would go unnoticed.
REQUIRED = os.environ.get("RUNSTEAD_REQUIRE_BROWSER") == "1"


class Browser:
    """Chromium, started once for the files of a process that need it.

    While it runs, Playwright's event loop occupies the thread, so async tests cannot run.
    """

    def __init__(self):
        self._closing = ExitStack()
        self._browser = None
        self.files = set()  # whose tests need it

    def started(self):
        if self._browser is None:
            from playwright.sync_api import sync_playwright

            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            playwright = self._closing.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*options, "--disable-dev-shm-usage"]
            )
            self._closing.callback(self._browser.close)
        return self._browser

    def close(self):
        self._browser = None
        self._closing.close()


BROWSER = Browser()


def pytest_collection_modifyitems(items):
    """Files that need the browser are neighbours, so that it starts once for all of them."""
    BROWSER.files |= {item.path for item in items if "chromium" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in BROWSER.files)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem):
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path not in BROWSER.files:
            BROWSER.close()


@pytest.fixture(scope="session")
def _playwright():
    """Ends Playwright's event loop before that of the tests is closed, which was there first."""
    yield
    BROWSER.close()


@pytest.fixture(scope="module")
def chromium(_playwright):
    """The browser. At the end of a file, its contexts are closed."""
    if CHROMIUM is None:
        assert not REQUIRED, (
            "RUNSTEAD_REQUIRE_BROWSER is set, but chromium is missing: apt-get install chromium"
        )
        pytest.skip("chromium is missing: apt-get install chromium")
    browser = BROWSER.started()
    yield browser
    for context in browser.contexts:
        context.close()


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
    settings["RUNSTEAD_ENCRYPTION_KEY"] = new_key()  # beside a file of SQLite, a server makes its own
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
