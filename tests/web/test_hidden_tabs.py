"""A hidden page closes its stream, so that visible pages can use the connection."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .run_pages import TaskRun


def streams(server, api):
    return float(re.search(r"^runstead_streams (\S+)$", api.http.get("/metrics").text, re.MULTILINE)[1])


def turn(page, state):
    page.evaluate(
        "state => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        state,
    )


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_hidden_page_closes_its_stream_and_continues_when_visible(open_tab, api, server):
    run = TaskRun(api)
    page = open_tab().page
    page.clock.install()
    page.goto(run.page)
    run.step("fetch")
    expect(page.locator("#run-timeline")).to_contain_text("fetch")
    until(lambda: streams(server, api) == 1, "the page's stream")
    turn(page, "hidden")
    page.clock.fast_forward(25_000)
    until(lambda: streams(server, api) == 0, "the stream to be let go")
    run.end_step("fetch")
    run.step("store")
    turn(page, "visible")
    expect(page.locator("#run-timeline")).to_contain_text("store")
    run.complete(output=1)
    expect(page.locator("#run-head")).to_contain_text("completed")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_hidden_list_does_the_same(open_tab, api, server):
    page = open_tab().page
    page.clock.install()
    page.goto("/ui/projects/default/runs")
    until(lambda: streams(server, api) == 1, "the list's stream")
    turn(page, "hidden")
    page.clock.fast_forward(25_000)
    until(lambda: streams(server, api) == 0, "the stream to be let go")
    run = TaskRun(api)
    turn(page, "visible")
    expect(page.locator("#rows")).to_contain_text(run.id)
