"""Zoom of a run's timeline: the parts to which its controls lead, with and without JavaScript."""

import re

import pytest
from playwright.sync_api import expect

from runstead.web.runs.waterfall import layout
from runstead.web.runs.zoom import Window, window_in

from .run_pages import TaskRun
from .run_records import NOON, event, run
from .test_timeline import bars, end, step
from .web_client import WebClient

HOUR = 3_600_000


def at(ms):
    return NOON + ms


def shown(window=None, *, of=None, now=HOUR, found=None):
    found = found or bars(
        step(1, "a", "1"),
        end(2, "a", "1"),
        event(3, "STEP_STARTED", stepName="b", stepId="2", at=HOUR - 10_000),
        of=of,
    )
    return layout(found, NOON + now, window)


def control(waterfall, name):
    return next(one for one in waterfall.zooms if one.id == name)


def window_of(query):
    return window_in(str(query.get("begin", "")), str(query.get("end", "")))


def test_a_window_shows_only_its_rows_as_wide_as_they_are_in_it():
    waterfall = shown(Window(at(0), at(4_000)))
    assert [(row.bar.name, row.x, row.width) for row in waterfall.rows] == [
        ("Attempt 1", "0.00%", "100.00%"),
        ("a", "25.00%", "25.00%"),
    ]
    assert (waterfall.part, waterfall.hidden) == ("0 to 4 s after the start", 1)


@pytest.mark.parametrize(
    ("window", "labels"),
    [
        ((0, HOUR), ["0", "15 min", "30 min", "45 min", "1 h"]),
        ((HOUR // 2, HOUR), ["30 min", "40 min", "50 min", "1 h"]),
        ((61_000, 63_000), ["+0", "+500 ms", "+1 s", "+1.5 s", "+2 s"]),
        ((HOUR - 5_010, HOUR - 5_000), ["+0", "+2 ms", "+4 ms", "+6 ms", "+8 ms", "+10 ms"]),
    ],
)
def test_marks_are_in_units_that_people_use_at_each_zoom(window, labels):
    found = shown(Window(at(window[0]), at(window[1]))).marks
    assert [mark.label for mark in found] == labels


def test_zooming_in_ends_at_the_shortest_part_and_out_at_the_whole_timeline():
    window, spans = None, []
    for _ in range(60):
        waterfall = shown(window)
        spans.append(waterfall.until - waterfall.since)
        closer = control(waterfall, "in")
        if not closer.enabled:
            break
        window = window_of(closer.query)
    assert spans[0] == HOUR
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] == 10
    for _ in range(60):
        out = control(shown(window), "out")
        if not out.enabled:
            break
        window = window_of(out.query)
    assert window is None


def test_zooming_in_keeps_the_live_step_in_view_and_grows_with_the_run():
    closer = window_of(control(shown(), "in").query)
    assert closer == Window(at(HOUR // 2))
    assert shown(closer, now=2 * HOUR).until == at(2 * HOUR)
    assert "b" in [row.bar.name for row in shown(closer).rows]


def test_the_current_step_fills_the_picture():
    current = control(shown(), "step")
    assert current.label == "Current step"
    waterfall = shown(window_of(current.query))
    row = next(row for row in waterfall.rows if row.focus)
    assert row.bar.name == "b"
    assert float(row.width[:-1]) > 80
    over = run("failed", completed_at=at(HOUR))
    failed = bars(step(1, "a", "1"), end(2, "a", "1", error="no route"), of=over)
    found = control(shown(of=over, found=failed), "step")
    assert (found.label, window_of(found.query)) == ("Failed step", Window(at(900), at(2_100)))


def test_a_window_moves_by_half_until_the_ends_of_the_timeline():
    later = control(shown(Window(at(0), at(4_000))), "later")
    assert window_of(later.query) == Window(at(2_000), at(6_000))
    assert not control(shown(Window(at(0), at(4_000))), "earlier").enabled
    assert not control(shown(Window(at(HOUR - 4_000))), "later").enabled
    assert window_of(control(shown(Window(at(1_000), at(5_000))), "earlier").query) == Window(
        at(0), at(4_000)
    )


@pytest.mark.parametrize(("begin", "end_"), [("x", ""), ("-1", "5"), ("", "5"), ("9" * 15, ""), ("٣", "")])
def test_a_malformed_window_is_the_whole_timeline(begin, end_):
    assert window_in(begin, end_) is None


@pytest.mark.parametrize(
    "window", [Window(0, 1), Window(at(9 * HOUR)), Window(at(5), at(4)), Window(at(0), at(0))]
)
def test_a_window_outside_of_the_timeline_is_bounded(window):
    waterfall = shown(window)
    assert at(0) <= waterfall.since < waterfall.until <= at(HOUR) + 10
    assert waterfall.marks


def test_the_timeline_is_zoomed_without_javascript(server, api):
    one = TaskRun(api)
    one.step("fetch")
    client = WebClient(server)
    page = client.get(f"{one.page}?view=timeline").text
    address = re.search(r'id="zoom-in" href="([^"]*)"', page)[1].replace("&amp;", "&")
    assert "zoom-part" not in page
    assert "zoom-part" in client.get(address).text
    client.close()


def test_the_timeline_is_zoomed_with_keys_and_by_drawing_while_it_is_live(open_tab, api):
    one = TaskRun(api)
    one.step("fetch")
    one.end_step("fetch")
    one.step("wait for the answer", "2")
    page = open_tab(f"{one.page}?view=timeline").page
    page.evaluate("window.same = true")
    part = page.locator("#zoom-part")
    page.get_by_role("link", name="Zoom in").focus()
    page.keyboard.press("Enter")
    expect(part).to_contain_text("after the start")
    expect(page.get_by_role("link", name="Zoom in")).to_be_focused()
    expect(page.locator("#zoom-status")).to_contain_text("after the start")
    expect(page).to_have_url(re.compile("begin="))
    page.keyboard.press("0")
    expect(part).to_have_count(0)
    page.keyboard.press(".")
    expect(page.locator(".row.focus")).to_contain_text("wait for the answer")
    expect(part).to_contain_text("after the start")
    # The stream goes on in the chosen part.
    one.step("the next", "3")
    expect(page.locator("#run-timeline")).to_contain_text("the next")
    expect(part).to_contain_text("after the start")
    page.keyboard.press("0")
    expect(part).to_have_count(0)
    box = page.locator(".row.attempt .track").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 8)
    expect(page.locator(".selection")).to_be_visible()
    page.mouse.up()
    expect(part).to_contain_text("after the start")
    expect(page.locator(".selection")).to_have_count(0)
    frame = page.locator("#waterfall")
    assert int(frame.get_attribute("data-to")) - int(frame.get_attribute("data-from")) > 0
    one.complete()
    expect(page.locator("#run-head")).to_contain_text("completed")
    assert page.evaluate("window.same") is True
