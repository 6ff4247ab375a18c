"""The list of runs in a browser: live rows, keyboard navigation, and actions on checked rows."""

import re

import pytest
from playwright.sync_api import expect

from .run_lists import LIST, create, frames, reader


@pytest.fixture
def make(api):
    return lambda target, **members: create(api, target, **members)


@pytest.fixture
def follow(open_tab):
    """follow(query): opens a tab at the live list."""

    def follow(query="", **context):
        tab = open_tab(LIST + query, **context)
        expect(tab.page.get_by_role("button", name="Live")).to_be_visible()
        return tab

    return follow


def row(tab, run_id):
    return tab.page.locator("#rows tr", has=tab.page.locator(f'a[href$="/runs/{run_id}"]'))


@pytest.mark.postgres
def test_a_run_appears_and_ends_without_a_reload(follow, api, make):
    tab = follow("?target=task:live")
    tab.page.evaluate("window.mark = 1")
    run_id = make("task:live")
    expect(row(tab, run_id)).to_contain_text("pending")
    worker = api.register("live")
    lease = {"X-Lease-Token": api.claim(worker, "task:live")["lease_token"]}
    expect(row(tab, run_id)).to_contain_text("running")
    progress = {"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.25}}
    api.post(f"/runs/{run_id}/events", {"events": [progress]}, lease)
    expect(row(tab, run_id).get_by_role("progressbar")).to_have_attribute("value", "25.0")
    second = make("task:live")
    expect(tab.page.locator("#rows tr").first).to_contain_text(second[-8:])
    api.complete(run_id, "failed", terminal_error_message="no such file")
    expect(row(tab, run_id)).to_contain_text("no such file")
    assert tab.page.evaluate("window.mark") == 1


def test_a_hostile_name_that_comes_live_is_text(follow, api):
    tab = follow("?target=task:hostile-live")
    title = "<img src=x onerror='window.harmed=1'><script>window.harmed=1</script>\r\nevent: all\r\ndata: "
    run_id = create(api, "task:hostile-live", title=title + "\u202e" + "x" * 150)
    expect(row(tab, run_id)).to_contain_text("<img src=x")
    api.complete(run_id, "failed", terminal_error_message=title * 20)
    expect(row(tab, run_id)).to_contain_text("window.harmed=1")
    expect(row(tab, run_id)).to_contain_text("failed")
    assert tab.page.evaluate("window.harmed") is None
    assert tab.page.locator("#rows img, #rows script").count() == 0
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_focus_and_checks_survive_an_update_of_the_row(follow, api, make):
    run_id = make("task:kept")
    tab = follow("?target=task:kept")
    box = row(tab, run_id).get_by_role("checkbox")
    box.check()
    box.focus()
    api.complete(run_id)
    expect(row(tab, run_id)).to_contain_text("completed")
    expect(row(tab, run_id).get_by_role("checkbox")).to_be_checked()
    expect(row(tab, run_id).get_by_role("checkbox")).to_be_focused()


def test_new_rows_do_not_scroll_the_list(follow, make):
    made = [make("task:scrolled") for _ in range(40)]
    tab = follow("?target=task:scrolled", viewport={"width": 1000, "height": 400})
    row(tab, made[5]).scroll_into_view_if_needed()
    before = row(tab, made[5]).bounding_box()["y"]
    new = make("task:scrolled")
    expect(row(tab, new)).to_be_attached()
    assert abs(row(tab, made[5]).bounding_box()["y"] - before) < 2


def test_an_unmatched_row_is_shown_and_then_removed(follow, api, make):
    run_id = make("task:leaving")
    tab = follow("?target=task:leaving&status=pending")
    tab.page.clock.install()
    tab.page.reload()
    expect(tab.page.get_by_role("button", name="Live")).to_be_visible()
    other = make("task:leaving")
    expect(row(tab, other)).to_be_visible()  # from now on the list is followed
    api.complete(run_id)
    api.complete(other)
    expect(row(tab, run_id)).to_have_class(re.compile("unmatched"))
    expect(row(tab, run_id)).to_contain_text("completed")
    tab.page.clock.run_for(10_000)
    expect(row(tab, run_id)).to_have_count(0)
    expect(tab.page.get_by_text("No matching runs")).to_be_visible()


@pytest.mark.postgres
def test_a_deleted_run_is_removed(follow, api, make):
    run_id = make("task:deleted")
    tab = follow("?target=task:deleted")
    expect(row(tab, run_id)).to_be_visible()
    api.complete(run_id)
    api.http.delete(f"/runs/{run_id}").raise_for_status()
    expect(row(tab, run_id)).to_have_count(0)


@pytest.mark.postgres
def test_fifty_rows_stay_fifty_and_the_next_page_follows_on(follow, make):
    made = [make("task:full") for _ in range(50)]
    tab = follow("?target=task:full")
    expect(tab.page.get_by_role("link", name="Older")).to_be_hidden()
    new = make("task:full")
    expect(row(tab, new)).to_be_visible()
    expect(tab.page.locator("#rows tr")).to_have_count(50)
    tab.page.get_by_role("link", name="Older").click()
    expect(tab.page.locator("#rows tr")).to_have_count(1)
    expect(row(tab, made[0])).to_be_visible()


def test_the_list_can_be_paused(follow, make):
    tab = follow("?target=task:held")
    tab.page.get_by_role("button", name="Live").click()
    held = make("task:held")
    paused = tab.page.get_by_role("button", name="Paused")
    expect(paused).to_have_attribute("aria-pressed", "false")
    assert row(tab, held).count() == 0
    paused.click()
    expect(row(tab, held)).to_be_visible()


def test_keys_move_check_and_open(follow, make):
    made = [make("task:keys") for _ in range(3)][::-1]
    tab = follow("?target=task:keys")
    keyboard = tab.page.keyboard
    for key in ("j", "j", "ArrowDown", "k"):
        keyboard.press(key)
    expect(row(tab, made[1]).get_by_role("link").first).to_be_focused()
    keyboard.press("x")
    expect(row(tab, made[1]).get_by_role("checkbox")).to_be_checked()
    keyboard.press("?")
    expect(tab.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert tab.accessibility_violations() == []
    keyboard.press("Escape")
    keyboard.press("/")
    expect(tab.page.get_by_role("searchbox")).to_be_focused()
    keyboard.type("jx?/")
    expect(tab.page.get_by_role("searchbox")).to_have_value("jx?/")


def test_single_keys_can_be_switched_off(follow, make):
    make("task:nokeys")
    tab = follow("?target=task:nokeys")
    tab.page.keyboard.press("?")
    tab.page.get_by_label("Use these keys").uncheck()
    tab.page.get_by_role("button", name="Close").click()
    tab.page.keyboard.press("j")
    assert tab.page.evaluate("document.activeElement.closest('#rows')") is None


def test_all_of_a_page_are_cancelled_after_one_question(follow, api, make):
    made = [make("task:many") for _ in range(3)]
    tab = follow("?target=task:many")
    expect(tab.page.get_by_role("button", name="Cancel checked")).to_be_disabled()
    tab.page.get_by_label("All on this page").check()
    expect(tab.page.locator("#count")).to_have_text("3 checked")
    asked = []
    tab.page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    tab.page.get_by_role("button", name="Cancel checked").click()
    expect(tab.page.get_by_text("3 cancelled.", exact=True)).to_be_visible()
    assert asked == ["Cancel 3 runs?"]
    assert {api.run(one)["status"] for one in made} == {"cancelled"}


def test_declining_the_confirmation_changes_nothing(follow, api, make):
    run_id = make("task:declined")
    tab = follow("?target=task:declined")
    row(tab, run_id).get_by_role("checkbox").check()
    tab.page.once("dialog", lambda dialog: dialog.dismiss())
    tab.page.get_by_role("button", name="Cancel checked").click()
    expect(row(tab, run_id).get_by_role("checkbox")).to_be_checked()
    assert api.run(run_id)["status"] == "pending"


@pytest.mark.postgres
def test_only_rows_that_changed_are_sent(server, api, make):
    made = [make("task:sent") for _ in range(5)]
    with reader(server) as client:
        page = client.get(LIST + "?target=task:sent").text
        address = page.partition('data-live="')[2].partition('"')[0].replace("&amp;", "&")
        with client.stream("GET", address) as stream:
            messages = frames(stream.iter_lines())
            api.complete(made[2])  # rows that the page already shows are not sent again
            name, html = next(messages)
            assert name in ("rows", "all")
            if name == "rows":
                assert html.count("<tr") == 1
            assert "completed" in html


@pytest.mark.postgres
def test_a_list_whose_runs_left_before_it_was_followed_is_emptied(server, api, make):
    run_id = make("task:left")
    with reader(server) as client:
        page = client.get(LIST + "?target=task:left&status=pending").text
        assert run_id in page
        api.complete(run_id)
        address = page.partition('data-live="')[2].partition('"')[0].replace("&amp;", "&")
        with client.stream("GET", address) as stream:
            assert next(frames(stream.iter_lines())) == ("all", "")


def test_no_width_scrolls_sideways(follow, make):
    make("task:" + "wide" * 50, title="w" * 250)
    tab = follow()
    for width in (360, 1280, 2560):
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.reload()
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.page.get_by_text("Account").click()
        expect(tab.page.get_by_role("link", name="Sessions")).to_be_in_viewport()
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_later_page_of_the_list_is_updated(open_tab, api):
    made = [
        api.create(api.project_id(), "task:later-page", name=f"Later {number}")["run_id"]
        for number in range(55)
    ]
    tab = open_tab(f"{LIST}?target=task:later-page")
    tab.page.get_by_role("link", name="Older").click()
    row = tab.page.locator("#rows tr", has_text="Later 2").last
    expect(row).to_contain_text("pending")
    api.post(f"/runs/{made[2]}/cancel", {"reason": "no longer needed"})
    expect(row).to_contain_text("cancelled")
