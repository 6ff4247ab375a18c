"""The page of the audit log, its download, and the decisions on a run's page."""

import csv
import io

import pytest

from runstead.web.access.audit import COLUMNS, csv_rows

from .web_client import WebClient, fits, page_text

PAGE = "/ui/projects/default/audit"
HOSTILE = "=HYPERLINK(1)<script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def page(server):
    client = WebClient(server)
    yield client
    client.close()


@pytest.fixture(scope="module")
def reader_key(server):
    """A key that may read runs only."""
    with server.api() as api:
        body = {"name": "reader", "scopes": ["runs:read"]}
        return api.post("/projects/default/api-keys", body)["key"]


@pytest.fixture(scope="module")
def recorded(server):
    """A member with a hostile name was added, and a run was approved and cancelled. Returns the run's id."""
    with server.api() as api:
        api.post("/projects/default/members", {"user_id": HOSTILE, "role": "viewer"})
        run_id = api.create(api.get("/projects/default")["id"])["run_id"]
        api.post(f"/runs/{run_id}/wait", {"reason": "approval", "tool_call_id": "deploy"})
        body = {"type": "approval", "tool_call_id": "deploy", "result": True}
        api.post(f"/runs/{run_id}/resume", body)
        api.post(f"/runs/{run_id}/cancel", {"reason": "changed my mind"})
        return run_id


def test_the_page_lists_who_did_what_and_is_filtered(page, recorded):
    text = page_text(page.get(PAGE))
    assert "session.create" in text  # the sign-in of this client
    assert "member.put" in text
    cancelled = page_text(page.get(PAGE, action="run.cancel"))
    assert "changed my mind" in cancelled
    assert "member viewer" not in cancelled
    assert "No matching entries" in page_text(page.get(PAGE, actor="grace"))
    assert page_text(page.get(PAGE, object=f"run:{recorded}")).count(recorded[:8]) >= 2
    assert f'href="/ui/projects/default/runs/{recorded}"' in page.get(PAGE, action="run.cancel").text
    assert "Audit log" in page_text(page.get("/ui/projects/default/access"))


@pytest.mark.parametrize(
    "query",
    [{"after": "yesterday"}, {"action": "run.destroy"}, {"cursor": "1"}, {"actor": "x" * 300}],
    ids=lambda query: next(iter(query)),
)
def test_an_invalid_filter_is_explained(page, query):
    answer = page.get(PAGE, status=400, **query)
    assert 'role="alert"' in answer.text


def test_times_filter_the_entries(page, recorded):
    assert "member.put" in page_text(page.get(PAGE, after="2020-01-01T00:00"))
    assert "No matching entries" in page_text(page.get(PAGE, before="2020-01-01T00:00:30"))


def test_entries_are_read_in_pages(page, server, recorded):
    with server.api() as api:
        for number in range(60):
            body = {"provider": "acme", "model": "m", "input": number, "output": 1}
            api.http.put("/projects/default/prices", json=body).raise_for_status()
    first = page.get(PAGE, action="price.put")
    older = first.text.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = page.get(older.replace("&amp;", "&"))
    assert (first.text.count("<code>price.put"), second.text.count("<code>price.put")) == (50, 10)


def test_hostile_text_is_shown_as_text(page, recorded):
    assert "<script>alert" not in page.get(PAGE, action="member.put").text


def test_the_download_holds_all_entries_and_no_formula(page, recorded):
    answer = page.get(f"{PAGE}.csv", action="member.put")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    header, row = csv.reader(io.StringIO(answer.text))
    assert header == list(COLUMNS)
    assert row[COLUMNS.index("object_id")] == f"'{HOSTILE}"
    everything = list(csv.reader(io.StringIO(page.get(f"{PAGE}.csv").text)))
    assert len(everything) > 3


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_of_the_download_is_never_a_formula(text):
    (row,) = csv.reader(io.StringIO(csv_rows([[text, None]]).decode(), newline=""))
    assert row == [f"'{text}", ""]


def test_the_page_of_a_run_names_who_approved_and_cancelled_it(page, server, recorded, reader_key):
    for client in (page, WebClient(server, reader_key)):  # without the scope audit:read too
        text = page_text(client.get(f"/ui/projects/default/runs/{recorded}"))
        assert "Approved by" in text
        assert "Cancelled by" in text


def test_without_the_scope_the_log_is_not_shown(server, reader_key):
    client = WebClient(server, reader_key)
    assert "audit:read" in page_text(client.get(PAGE, status=403))
    client.get(f"{PAGE}.csv", status=403)
    assert "Audit log" not in page_text(client.get("/ui/projects/default/access"))


def test_the_page_fits_narrow_screens_and_works_in_a_browser(open_tab, recorded):
    tab = open_tab(PAGE)
    assert fits(tab, 320, 768, 1280)
    tab.page.get_by_label("Action").select_option("run.cancel")
    tab.page.get_by_role("button", name="Filter").click()
    tab.page.wait_for_url("**action=run.cancel**")
    tab.page.locator("td details summary").first.click()
    assert tab.page.locator("td details pre").filter(has_text="changed my mind").first.is_visible()
