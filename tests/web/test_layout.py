"""The layout of every page: header, menus and colours."""

import pytest
from playwright.sync_api import expect

from .run_lists import LIST


def test_the_project_menu_marks_the_current_project(tab):
    tab.page.locator(".projects summary").click()
    here = tab.page.get_by_role("link", name="default", exact=True)
    expect(here).to_have_attribute("aria-current", "true")
    here.click()
    expect(tab.page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


def test_a_menu_closes_at_escape_and_elsewhere(tab):
    menu, inside = tab.page.locator(".account summary"), tab.page.get_by_role("link", name="Sessions")
    menu.click()
    expect(inside).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(inside).to_be_hidden()
    expect(menu).to_be_focused()
    menu.click()
    tab.page.get_by_role("heading", name="Runs", exact=True).click()
    expect(inside).to_be_hidden()


@pytest.mark.parametrize(("chosen", "ground"), [("light", "rgb(251, 251, 249)"), ("dark", "rgb(20, 23, 26)")])
def test_chosen_colours_apply_before_the_first_paint(open_tab, chosen, ground):
    tab = open_tab(LIST, color_scheme="light" if chosen == "dark" else "dark")
    tab.page.locator(".account summary").click()
    tab.page.get_by_label("Colours").select_option(chosen)
    colour = "getComputedStyle(document.body).backgroundColor"
    assert tab.page.evaluate(colour) == ground
    # theme.js in the head sets them, not a later script.
    tab.page.route("**/page.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    tab.open("/ui/sessions")
    assert tab.page.evaluate(colour) == ground


def test_a_phone_reaches_every_page_and_menu(open_tab):
    tab = open_tab(LIST, viewport={"width": 360, "height": 740}, has_touch=True)
    tab.page.get_by_role("button", name="Menu").click()
    for name in ("Usage", "Schedules", "Batches", "Workers", "Webhooks", "Access"):
        expect(
            tab.page.get_by_role("navigation", name="Project").get_by_role("link", name=name)
        ).to_be_in_viewport()
    tab.page.keyboard.press("Escape")
    tab.page.locator(".projects summary").click()
    expect(tab.page.get_by_role("link", name="default", exact=True)).to_be_in_viewport()
    tab.page.locator(".account summary").click()
    expect(tab.page.get_by_role("button", name="Sign out")).to_be_in_viewport()


def test_the_first_tab_stop_skips_the_header(tab):
    tab.page.keyboard.press("Tab")
    expect(tab.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("main")).to_be_focused()
