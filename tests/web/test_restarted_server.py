"""Live pages reconnect to a restarted server and continue without gaps or repetitions."""

import pytest
from playwright.sync_api import expect

from tests.support.server import Server

from .run_pages import TaskRun, text_delta, text_start


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarted")
    started = Server(folder, folder / "runstead.db").start()
    started.port = int(started.url.rpartition(":")[2])  # the same port after the restart
    yield started
    started.kill()


def ignore_connection_errors(tab):
    """Remove the errors that the browser and htmx log while the server is down."""
    gone = (
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CONNECTION_RESET",
        "[object Event]",
    )
    tab.errors[:] = [one for one in tab.errors if not any(name in one for name in gone)]


def test_a_run_is_followed_through_a_kill_of_the_server(open_tab, api, server):
    run = TaskRun(api)
    tab = open_tab(f"{run.page}?view=conversation")
    page = tab.page
    page.evaluate("window.same = true")
    run.append(text_start(), text_delta("one "))
    talk = page.get_by_role("region", name="Conversation")
    expect(talk).to_contain_text("one")
    server.restart()
    with server.api() as again:
        run.api = again
        run.append(text_delta("two "), text_delta("three"))
        expect(talk).to_contain_text("three")
        run.complete(output=1)
    expect(page.locator("#run-head")).to_contain_text("completed")
    assert page.evaluate("window.same")
    assert talk.inner_text().count("one two three") == 1
    ignore_connection_errors(tab)


def test_the_list_reconnects_after_a_restart(open_tab, api, server):
    first = TaskRun(api)
    tab = open_tab("/ui/projects/default/runs")
    rows = tab.page.locator("#rows")
    expect(rows).to_contain_text(first.id)
    server.restart()
    with server.api() as again:
        second = TaskRun(again)
        expect(rows).to_contain_text(second.id)
    expect(rows.locator("tr")).to_have_count(3)  # including the run of the previous test
    ignore_connection_errors(tab)
