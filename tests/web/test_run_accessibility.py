"""A run's page with axe, with the keyboard only, and on small screens."""

import pytest
from playwright.sync_api import expect

from tests.support.server import Server

from .run_pages import TaskRun, text_delta, text_start, tool_call, tool_result
from .web_client import fits

VIEWS = ("overview", "timeline", "conversation", "log", "events", "tree")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """SQLite only: pages are the same on either engine."""
    folder = tmp_path_factory.mktemp("web")
    started = Server(folder, folder / "runstead.db").start()
    yield started
    started.kill()


@pytest.fixture
def run(api):
    run = TaskRun(api, input={"a": 1}, title="Look at me")
    run.step("fetch")
    run.append(text_start(), text_delta("Words"), *tool_call(), tool_result("x"))
    run.log("a line\nERROR another\n")
    TaskRun(api, parent=run, claimed=False)
    return run


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible(open_tab, run, scheme):
    tab = open_tab(color_scheme=scheme)
    for view in VIEWS:
        tab.open(f"{run.page}?view={view}")
        tab.page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        assert tab.accessibility_violations() == [], view


def test_every_view_fits_any_screen(open_tab, run):
    tab = open_tab()
    for view in VIEWS:
        tab.open(f"{run.page}?view={view}")
        assert fits(tab, 360, 800, 2_560)


def test_a_run_is_read_and_cancelled_with_the_keyboard_alone(open_tab, run):
    page = open_tab(run.page).page
    cancel = page.locator("summary", has_text="Cancel…")
    for _ in range(60):
        page.keyboard.press("Tab")
        if cancel.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Enough")
    page.keyboard.press("Enter")
    expect(page.locator("#run-head")).to_contain_text("Enough")
    page.locator(".tabs a", has_text="Log").focus()
    page.keyboard.press("Enter")
    search = page.get_by_role("searchbox", name="Search")
    expect(search).to_be_visible()
    page.keyboard.press("/")
    expect(search).to_be_focused()
