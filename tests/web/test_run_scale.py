"""A run with a hundred thousand events: its page opens fast and stays small."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from runstead.core.runs.append import append
from runstead.core.runs.event import NewEvent, encode
from runstead.core.runs.transitions import Fence
from runstead.engines.sqlite.store import SqliteStore
from runstead.ports.store import RunKey
from tests.support.server import Server, processor_s

from .run_pages import TaskRun, text_delta, text_start
from .web_client import WebClient

EVENTS = 100_000
VIEWS = ("overview", "timeline", "conversation", "log", "events", "tree")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """SQLite only: a page reads the same amount on PostgreSQL."""
    folder = tmp_path_factory.mktemp("web")
    started = Server(folder, folder / "runstead.db").start()
    yield started
    started.kill()


def event_members(number):
    """Steps and log lines first, then only text: some views need events from far back."""
    if number < 2_000:
        kind = ("STEP_STARTED", "STEP_FINISHED")[number % 2]
        return {"type": kind, "stepName": f"step {number // 2}", "stepId": str(number // 2 + 1)}
    if number < 3_000:
        return {"type": "CUSTOM", "name": "run.log", "value": {"lines": f"line {number}\n"}}
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": f"m{number // 500}", "delta": f"word {number} "}


def new(number):
    members = event_members(number)
    return NewEvent(members["type"], encode(members), source="caller")


async def fill(path, key):
    """Append events with the rule of the API, in larger portions."""
    store = SqliteStore(path)
    await store.open()
    try:
        for first in range(0, EVENTS, 5_000):
            events = tuple(new(number) for number in range(first, first + 5_000))
            await store.runs.apply(
                key,
                lambda loaded, events=events: append(
                    loaded.run,
                    now=loaded.now,
                    events=events,
                    expected_previous_event_id=None,
                    expected_sequence=None,
                    tail=(),
                    fence=Fence(),
                    keys={},
                ),
            )
    finally:
        await store.close()


@pytest.fixture(scope="module")
def large(server):
    """The run, not ended."""
    with server.api() as api:
        run = TaskRun(api)
        filling = fill(server.database, RunKey(api.project_id(), run.id))
        with ThreadPoolExecutor(1) as thread:  # the browser's event loop may run in this one
            thread.submit(asyncio.run, filling).result()
        assert run.stored()["latest_event_id"] == EVENTS
        yield run


@pytest.fixture(scope="module")
def of_all_events():
    """Seconds of the processor for making so many events here: to read and show them takes many times as long."""

    def once():
        began = time.thread_time()
        for number in range(EVENTS):
            new(number)
        return time.thread_time() - began

    return min(once() for _ in range(2))


@pytest.mark.parametrize("view", VIEWS)
def test_a_run_of_a_hundred_thousand_events_opens_fast_and_stays_small(server, large, of_all_events, view):
    web_client = WebClient(server)
    before = processor_s(server.process)  # so that it does not matter what else the machine does
    for _ in range(5):
        page = web_client.get(f"{large.page}?view={view}")
    web_client.close()
    assert len(page.content) < 600_000
    assert (processor_s(server.process) - before) / 5 < 3 * of_all_events


def test_old_events_are_found(server, large):
    web_client = WebClient(server)
    assert "step 499<" in web_client.get(f"{large.page}?view=timeline").text
    assert "line 2999" in web_client.get(f"{large.page}?view=log").text
    assert f"word {EVENTS - 1}" in web_client.get(f"{large.page}?view=conversation").text
    web_client.close()


def test_a_large_run_is_updated_live(open_tab, large):
    page = open_tab(f"{large.page}?view=conversation").page
    assert page.evaluate("document.querySelectorAll('*').length") < 3_000
    large.append(text_start("new"), text_delta("And then it went on", "new"))
    expect(page.locator("#transcript")).to_contain_text("And then it went on")
