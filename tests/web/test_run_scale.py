"""A run with a hundred thousand events: its page opens fast and stays small."""

import asyncio

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


async def fill(path, key, count):
    """Append events with the rule of the API, in larger portions."""
    store = SqliteStore(path)
    await store.open()
    try:
        for first in range(0, count, 5_000):
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
def new_run(server):
    """new_run(count): a run with so many events, not ended."""
    with server.api() as api:

        def make(count):
            run = TaskRun(api)
            asyncio.run(fill(server.database, RunKey(api.project_id(), run.id), count))
            assert run.stored()["latest_event_id"] == count
            return run

        yield make


@pytest.fixture(scope="module")
def small(new_run):
    """Its events fill every view."""
    return new_run(5_000)


@pytest.fixture(scope="module")
def large(new_run):
    return new_run(EVENTS)


@pytest.mark.parametrize("view", VIEWS)
def test_a_run_of_a_hundred_thousand_events_opens_fast_and_stays_small(server, small, large, view):
    web_client = WebClient(server)

    def cost(run):
        """The server's processor time for ten pages: what else the machine does is not in it."""
        before = processor_s(server.process)
        for _ in range(10):
            page = web_client.get(f"{run.page}?view={view}")
        assert len(page.content) < 600_000
        return processor_s(server.process) - before

    # If a page read all events, it would cost up to twenty times as much.
    assert min(cost(large) for _ in range(2)) < 6 * max(min(cost(small) for _ in range(2)), 0.05)
    web_client.close()


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
