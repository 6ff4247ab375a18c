"""The dashboard as people meet it: the real program, and Debian's Chromium before it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.server import Server

from .browser import Tab

CHROMIUM = os.environ.get("RUNSTEAD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
#: Set in CI, where a test without a browser would prove nothing.
REQUIRED = os.environ.get("RUNSTEAD_REQUIRE_BROWSER") == "1"


@pytest.fixture(scope="module")
def chromium():
    """The browser, started once for a file: while it is there, Playwright's loop holds the thread, and no test of another
    file that is async could run in it.
    """
    if CHROMIUM is None:
        assert not REQUIRED, (
            "RUNSTEAD_REQUIRE_BROWSER is set, and there is no chromium: apt-get install chromium"
        )
        pytest.skip("there is no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def pytest_generate_tests(metafunc):
    """Pages are read from stores, which tests/store proves to do the same: over both engines is the long form. A file in
    which the engine may matter nevertheless is marked `postgres`.
    """
    named = any("engine" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and not named:
        on_postgres = metafunc.definition.get_closest_marker("postgres")
        engines = ["sqlite", pytest.param("postgres", marks=() if on_postgres else pytest.mark.long)]
        metafunc.parametrize("engine", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request):
    """What the server stores in."""
    return request.param


@pytest.fixture(scope="module")
def server(engine, request, tmp_path_factory):
    """The program over an empty store, for all tests of a file."""
    folder: Path = tmp_path_factory.mktemp("web")
    kept = {"RUNSTEAD_ARTIFACTS_URL": f"file://{folder}/artifacts"}
    if engine == "sqlite":
        started = Server(folder, folder / "runstead.db", **kept).start()
        yield started
        started.kill()
        return
    databases = request.getfixturevalue("databases")
    name = databases.lease()
    started = Server(folder, databases.server.url(name), **kept).start()
    yield started
    started.kill()
    databases.give_back(name)


@pytest.fixture
def api(server):
    with server.api() as api:
        yield api


@pytest.fixture(scope="module")
def _signed_in():
    """The cookies of who signed in, by server and key: the form is filled in once for a file."""
    return {}


@pytest.fixture
def open_tab(chromium, server, _signed_in):
    """open_tab(path): a page of the dashboard, in a browser of its own that is signed in. At the end of the test nothing
    may have gone wrong in any of them: no error, no breach of the policy, no request elsewhere.
    """
    tabs = []

    def make(path="/ui", *, of=server, key=None, **context):
        tab = Tab(chromium.new_context(base_url=of.url, **context), of.url)
        tabs.append(tab)
        who = of.url, key or of.key
        tab.context.add_cookies(_signed_in.get(who, []))
        tab.open(path)
        if "/ui/sign-in" in tab.page.url:  # nobody has signed in yet, or a test has ended the session
            tab.sign_in(who[1])
            _signed_in[who] = tab.context.cookies()
            tab.open(path)
        return tab

    yield make
    for tab in tabs:
        tab.close()
    for tab in tabs:
        assert tab.troubles == []


@pytest.fixture
def tab(open_tab):
    """A browser that is signed in, at the list of runs."""
    return open_tab("/ui/projects/default/runs")
