"""The chart above the list of runs: numbers, summary, table, and choosing a time range by dragging."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import Activity, Bucket
from runstead.web.runs.chart import summary
from runstead.web.runs.filters import Filters

from .run_lists import LIST, create, reader, run_ids_in

CHART = "/ui/projects/default/list/chart"


@pytest.fixture(scope="module")
def ended(server):
    """New runs in three states."""
    with server.api() as api:
        made = [create(api, "task:charted") for _ in range(6)]
        for run_id, status in zip(made, ["completed"] * 3 + ["failed"], strict=False):
            api.complete(run_id, status)
    return made


@pytest.fixture
def browser(server):
    with reader(server) as client:
        yield client


def test_the_columns_hold_every_run_once(browser, ended):
    found = browser.get(CHART + ".json?target=task:charted").json()
    assert {status: sum(counts) for status, counts in found["counts"].items()} == {
        "completed": 3,
        "failed": 1,
        "cancelled": 0,
        "running": 0,
        "waiting": 0,
        "pending": 2,
    }
    assert len(found["begins_at"]) == 60 == len(found["p50_ms"]) == len(found["p95_ms"])
    assert found["width_ms"] == 60_000
    assert all(begins % 60_000 == 0 for begins in found["begins_at"])
    assert found["summary"].startswith(
        "In the last hour 6 runs were created: 3 completed, 1 failed, 2 pending."
    )


@pytest.mark.parametrize(
    ("span", "width_ms"), [("15m", 15_000), ("6h", 300_000), ("24h", 900_000), ("7d", 7_200_000)]
)
def test_a_longer_time_has_wider_bars(browser, ended, span, width_ms):
    found = browser.get(f"{CHART}.json?target=task:charted&span={span}").json()
    assert found["width_ms"] == width_ms
    assert sum(map(sum, found["counts"].values())) == 6


def test_chosen_times_are_the_charts_too(browser, ended):
    found = browser.get(f"{CHART}.json?since=2020-01-01T00:00:00&until=2020-01-01T00:00:30").json()
    assert found["until"] - found["since"] == 30_000
    assert len(found["begins_at"]) == 30
    assert found["summary"] == "In this period no run was created."


def test_a_chart_of_a_part_says_how_many_it_counts_and_since_when():
    total = Bucket(0, {RunStatus.COMPLETED: 9_000, RunStatus.FAILED: 1_000}, 1_500, 20_000)
    found = Activity(0, 3_600_000, 60_000, [], total, counted_since=1_767_225_600_000)
    assert summary(found, Filters()) == (
        "In the last hour more than 10,000 matching runs were created. The chart counts only the newest 10,000, created since"
        " 2026-01-01 00:00:00 UTC: 9,000 completed, 1,000 failed. Of the completed runs, 50 % took at most 1.5 s, 95 % at most"
        " 20.0 s."
    )


def test_a_reversed_time_range_is_refused(browser):
    answer = browser.get(f"{CHART}.json?since=2020-01-02T00:00&until=2020-01-01T00:00")
    assert answer.status_code == 400
    assert "must lie before" in answer.text


def test_the_table_has_the_same_numbers(browser, ended):
    page = browser.get(CHART + "?target=task:charted")
    assert "6 runs were created" in page.text
    row = re.search(r'<th scope="row">.*?</tr>', page.text, re.DOTALL)[0]
    numbers = [int(one) for one in re.findall(r'<td[^>]* class="num">(\d+)</td>', row)]
    assert sum(numbers) >= 1
    assert len(numbers) == 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_is_drawn_in_the_colours_of_the_states(open_tab, ended, scheme):
    tab = open_tab(LIST + "?target=task:charted&span=15m", color_scheme=scheme)
    expect(tab.page.locator("#chart-summary")).to_contain_text("6 runs were created")
    canvas = tab.page.locator("#plot canvas")
    expect(canvas).to_be_visible()
    drawn = """(canvas, name) => {
        const probe = document.querySelector(`[data-series=${name}]`);
        const wanted = getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number);
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4)
            if (wanted.every((one, n) => Math.abs(data[at + n] - one) < 3) && data[at + 3] > 250) return true;
        return false;
    }"""
    assert canvas.evaluate(drawn, "completed")
    assert canvas.evaluate(drawn, "failed")
    assert not canvas.evaluate(drawn, "waiting")


def test_the_chart_is_updated_live(open_tab, api, ended):
    tab = open_tab(LIST + "?target=task:followed")
    expect(tab.page.locator("#chart-summary")).to_contain_text("no run was created")
    create(api, "task:followed")
    expect(tab.page.locator("#chart-summary")).to_contain_text("1 run was created")


def test_dragging_over_the_chart_sets_the_times_of_the_list(open_tab, ended):
    tab = open_tab(LIST + "?target=task:charted&span=15m")
    expect(tab.page.locator("#plot canvas")).to_be_visible()
    box = tab.page.locator("#plot .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
    with tab.page.expect_navigation():
        tab.page.mouse.up()
    query = parse_qs(urlsplit(tab.page.url).query)
    assert query["target"] == ["task:charted"]
    assert query["since"][0] < query["until"][0]
    expect(tab.page.get_by_label("From (UTC)")).to_have_value(re.compile(query["since"][0][:16]))
    expect(tab.page.locator("#rows tr")).to_have_count(0)  # all runs are newer
    tab.page.get_by_role("link", name="Last 1 h").click()
    expect(tab.page.locator("#rows tr")).to_have_count(6)


def test_times_can_be_set_without_dragging(browser, ended, api):
    created = api.run(ended[0])["created_at"][:19]
    page = browser.get(LIST, params={"target": "task:charted", "since": created, "until": "2100-01-01T00:00"})
    assert set(run_ids_in(page)) == set(ended)
