"""Every page by axe, by the keyboard, and at the widths of a phone, a tablet, a laptop and a desktop."""

from collections import defaultdict

import pytest
from playwright.sync_api import expect

from .browser import Tab
from .every_page import PROJECT, every_page

pytestmark = pytest.mark.timeout(900)  # one fixture visits all pages

WIDTHS = (360, 390, 768, 1024, 1440, 2560)
#: What does not fit: a page that scrolls sideways, controls that a person could see but not reach because they are cut
#: off at a side or are in a frame that scrolls sideways, and on a phone cells that end outside of the frame of their table.
OUTSIDE = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)], right = (one) => one.getBoundingClientRect().right;
  const controls = all("a, button, input:not([type=hidden]), select, textarea, summary")
    .filter((one) => one.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    .filter((one) => !one.closest(".skip, .visually-hidden"))
    .map((one) => [one.getBoundingClientRect(), one])
    .filter(([box]) => box.width > 1 && (box.left < -0.5 || box.right > innerWidth + 0.5))
    .map(([box, one]) => `${one.outerHTML.slice(0, 90)} ends at ${Math.round(box.right)}`);
  const cut = innerWidth > 400 ? [] : all(".wide td, .wide th")
    .filter((one) => one.getBoundingClientRect().width > 1 && right(one) > right(one.closest(".wide")) + 0.5)
    .map((one) => `cut: ${one.outerHTML.slice(0, 90)}`);
  const width = document.documentElement.scrollWidth;
  return [...(width > innerWidth ? [`${width} px wide`] : []), ...controls, ...cut];
}"""
#: Begins a walk through the content with the Tab key, and returns how many times to press it. `walk.left` has the
#: controls that it has not reached, `walk.found` what is wrong with those that it has.
WALK = """() => {
  const stops = ["a[href]", "button", "input", "select", "textarea", "summary", "[tabindex='0']"];
  const controls = [...document.querySelectorAll(stops.map((one) => `main ${one}`).join(", "))]
    .filter((one) => !one.disabled && one.type !== "hidden" && one.checkVisibility({visibilityProperty: true}))
    .filter((one) => one.type !== "radio" || one.checked || !document.querySelector(`[name="${CSS.escape(one.name)}"]:checked`));
  // Live rows are replaced during the walk, and the text of a control with an id changes.
  const name = (one) => [one.nodeName, one.id || [one.name, one.getAttribute("href"), one.textContent.trim().slice(0, 40)].join(" ")].join(" ");
  const walk = window.walk = {left: new Map(controls.map((one) => [name(one), one])), found: []};
  if (document.querySelector("[tabindex]:not([tabindex='0'], [tabindex='-1'])")) walk.found.push("a tabindex above 0");
  document.getElementById("main").focus();
  document.addEventListener("focusin", ({target}) => {
    walk.left.delete(name(target));
    const {outlineStyle, outlineWidth} = getComputedStyle(target), {top, bottom} = target.getBoundingClientRect();
    if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) walk.found.push(`no visible focus: ${name(target)}`);
    const header = document.querySelector(".top").getBoundingClientRect().bottom;
    if (target.closest("main") && !target.closest(".visually-hidden") && (bottom <= header || top >= innerHeight)) walk.found.push(`out of sight: ${name(target)}`);
  });
  // A field for a time has a stop for each of its parts.
  const parts = {date: 5, "datetime-local": 8};
  return controls.reduce((sum, one) => sum + (parts[one.type] ?? 1), 0);
}"""


@pytest.fixture(scope="module")
def pages(server):
    with server.api() as api:
        yield every_page(api)


@pytest.fixture(scope="module")
def found(chromium, server, pages):
    """What is wrong with the pages, by the kind of check: one visit of each page."""
    tab = Tab(chromium.new_context(base_url=server.url), server.url)
    tab.sign_in(server.key)
    found = defaultdict(list)
    for path in pages:
        tab.page.set_viewport_size({"width": 1440, "height": 800})
        tab.page.emulate_media(color_scheme="light")
        tab.open(path)
        tab.page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        devtools = tab.context.new_cdp_session(tab.page)
        for _ in range(tab.page.evaluate(WALK)):
            devtools.send(
                "Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Tab", "windowsVirtualKeyCode": 9}
            )
        found["keyboard"] += [
            f"{path}: {one}" for one in tab.page.evaluate("[...walk.found, ...walk.left.keys()]")
        ]
        tab.page.evaluate("scrollTo(0, 0)")  # axe takes what is behind the header for too small
        found["axe"] += [f"{path} in light: {one}" for one in tab.accessibility_violations()]
        tab.page.emulate_media(color_scheme="dark")
        found["axe"] += [f"{path} in dark: {one}" for one in tab.accessibility_violations(only_colours=True)]
        for width in reversed(WIDTHS):
            tab.page.set_viewport_size({"width": width, "height": 800})
            found["widths"] += [f"{path} at {width}: {one}" for one in tab.page.evaluate(OUTSIDE)]
    found["errors"] = tab.errors
    tab.close()
    return found


def test_axe_finds_nothing_on_any_page_in_light_and_dark(found):
    assert not found["axe"], "\n".join(found["axe"])


def test_every_control_of_every_page_is_reached_by_tab_and_shows_its_focus(found):
    assert not found["keyboard"], "\n".join(found["keyboard"])


def test_no_control_is_outside_the_viewport_on_any_page(found):
    assert not found["widths"], "\n".join(found["widths"])


def test_no_page_has_an_error_in_the_browser(found):
    assert not found["errors"], "\n".join(found["errors"])


def test_every_page_has_the_same_header_and_a_dialog_that_keeps_the_focus(open_tab, pages):
    """The header is part of every page, so it is walked once: its menus, and the dialog of keys."""
    tab = open_tab(f"{PROJECT}/access")
    page = tab.page
    for name in ("Skip to the content", "Runstead", "Runs", "Usage", "Schedules", "Batches", "Workers"):
        page.keyboard.press("Tab")
        if name == "Runs":  # after the menu of projects
            page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
    account = page.locator(".account summary")
    account.focus()
    page.keyboard.press("Enter")
    sessions = page.get_by_role("link", name="Sessions", exact=True)
    expect(sessions).to_be_visible()
    page.keyboard.press("Escape")
    expect(sessions).to_be_hidden()
    expect(account).to_be_focused()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_be_visible()
    assert tab.accessibility_violations() == []
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(account).to_be_focused()


def test_a_phone_shows_runs_on_its_first_screen_and_folds_filters_and_chart(open_tab, pages):
    tab = open_tab(f"{PROJECT}/runs", viewport={"width": 390, "height": 800})
    expect(tab.page.locator("#rows tr").first).to_be_in_viewport(ratio=1)
    expect(tab.page.locator("#plot")).to_be_hidden()
    expect(tab.page.get_by_role("checkbox", name="failed")).to_be_hidden()
    tab.page.get_by_text("More filters").click()
    expect(tab.page.get_by_text("failed", exact=False).first).to_be_visible()
    tab.page.get_by_text("Chart", exact=True).click()
    expect(tab.page.locator("#plot")).to_be_visible()
    assert tab.page.locator("header").bounding_box()["height"] < 60, "the header has one line"
