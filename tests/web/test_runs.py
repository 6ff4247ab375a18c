"""The list of runs, without JavaScript."""

import json
import re
from html import unescape

import pytest

from .run_lists import LIST, create, csrf_in, link, reader, rows_in, run_ids_in

pytestmark = pytest.mark.postgres


@pytest.fixture
def browser(server):
    with reader(server) as client:
        yield client


@pytest.fixture
def make(api):
    """make(target, status=None, **members): creates a run in this status and returns its id."""

    def make(target="task:list", status=None, **members):
        run_id = create(api, target, **members)
        if status == "cancelled":
            api.post(f"/runs/{run_id}/cancel")
        elif status is not None:
            api.complete(run_id, status)
        return run_id

    return make


def test_an_empty_project_shows_how_to_create_the_first_run(browser, api, server):
    page = browser.get(LIST + "?target=task:none")
    assert "No matching runs" in page.text
    page = browser.get(LIST)
    if rows_in(page):  # created by another test
        pytest.skip("there are runs already")
    assert server.url in page.text
    body = json.loads(unescape(re.search(r"-d '(.*?)'<", page.text, re.DOTALL)[1]))
    assert api.post("/runs", body)["run"]["target"] == "task:hello"
    assert "No runs yet" not in browser.get(LIST).text


def test_the_newest_run_stands_first(browser, make):
    first, second = make(), make()
    assert run_ids_in(browser.get(LIST))[:2] == [second, first]


@pytest.mark.parametrize("status", ["pending", "completed", "failed", "cancelled"])
def test_a_status_is_chosen_in_the_address(browser, make, status):
    target = f"task:by-{status}"
    made = {
        one: make(target, None if one == "pending" else one)
        for one in ("pending", "completed", "failed", "cancelled")
    }
    page = browser.get(LIST, params={"target": target, "status": status})
    assert run_ids_in(page) == [made[status]]
    assert f'value="{status}" checked' in page.text


def test_two_statuses_take_either(browser, make):
    made = [make("task:either", status) for status in (None, "completed", "failed")]
    page = browser.get(LIST + "?target=task:either&status=failed&status=completed")
    assert run_ids_in(page) == [made[2], made[1]]


def test_a_search_finds_titles_and_ids(browser, make):
    run_id = make(title="Quarterly 100%_report")
    make(title="Quarterly 100 reports")
    assert run_ids_in(browser.get(LIST, params={"q": "100%_rep"})) == [run_id]
    assert run_ids_in(browser.get(LIST, params={"q": run_id[5:20]})) == [run_id]


def test_all_labels_must_match(browser, make):
    both = make("task:labelled", labels={"tier": "gold", "at": "12:30"})
    make("task:labelled", labels={"tier": "gold"})
    page = browser.get(LIST + "?label=tier:gold&label=at:12:30&label=")
    assert run_ids_in(page) == [both]


def test_times_are_in_utc_and_hold_their_first_moment(browser, api, make):
    run_id = make("task:timed")
    second = api.run(run_id)["created_at"][:19]
    assert run_id in run_ids_in(browser.get(LIST, params={"target": "task:timed", "since": second}))
    assert run_id in run_ids_in(browser.get(LIST, params={"target": "task:timed", "since": second + "Z"}))
    assert run_ids_in(browser.get(LIST, params={"target": "task:timed", "until": second})) == []


@pytest.mark.parametrize("query", ["since=yesterday", "until=0001-01-01T00:00", "cursor=nonsense"])
def test_invalid_times_and_cursors_are_refused(browser, query):
    answer = browser.get(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


def test_unknown_filter_values_are_ignored(browser, make):
    run_id = make("task:old-address")
    page = browser.get(
        LIST + "?target=task:old-address&status=paused&kind=cat&sort=age&span=1y&label=none&q=%00"
    )
    assert run_ids_in(page) == [run_id]


def test_the_longest_can_stand_first(browser, make):
    make("task:long")  # a run without a duration is not listed
    ended = {make("task:long", "completed") for _ in range(3)}
    page = browser.get(LIST + "?target=task:long&sort=duration")
    assert set(run_ids_in(page)) == ended
    assert "data-live" not in page.text


def test_pages_link_forward_and_back(browser, make):
    made = [make("task:paged") for _ in range(120)][::-1]
    first = browser.get(LIST + "?target=task:paged")
    second = browser.get(link(first, "Older"))
    third = browser.get(link(second, "Older"))
    assert [run_ids_in(page) for page in (first, second, third)] == [made[:50], made[50:100], made[100:]]
    assert link(third, "Older") is None
    assert link(first, "Newer") is None
    assert run_ids_in(browser.get(link(third, "Newer"))) == made[50:100]
    assert run_ids_in(browser.get(link(second, "Newer"))) == made[:50]
    assert link(third, "Newest") == LIST + "?target=task%3Apaged"
    assert "data-live" in first.text
    assert "data-live" not in second.text


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)> \u202egnp.exe \x1b[31m' + "x" * 150


def test_names_of_runs_are_shown_as_text(browser, api, make):
    run_id = make("task:hostile", title=HOSTILE)
    api.complete(run_id, "failed", terminal_error_message=HOSTILE * 50)
    (row,) = rows_in(browser.get(LIST + "?target=task:hostile"))
    assert "&lt;script&gt;" in row
    assert "<script>" not in row
    assert "<img" not in row
    assert "\u202e" not in row
    assert "\x1b" not in row
    assert len(row) < 6_000


def test_checked_runs_are_cancelled_after_a_question(browser, api, make):
    made = [make("task:bulk"), make("task:bulk", "completed"), make("task:bulk")]
    page = browser.get(LIST + "?target=task:bulk")
    form = {"csrf": csrf_in(page), "run": made, "do": "cancel", "back": LIST + "?target=task:bulk"}
    asked = browser.post("/ui/projects/default/list/changes", data=form)
    assert "Cancel 3 runs?" in asked.text
    assert api.run(made[0])["status"] == "pending"
    done = browser.post("/ui/projects/default/list/changes", data=form | {"sure": "yes"})
    assert done.headers["location"] == form["back"]
    assert "2 cancelled, 1 had already ended." in browser.get(form["back"]).text
    assert [api.run(one)["status"] for one in made] == ["cancelled", "completed", "cancelled"]


def test_checked_runs_are_retried(browser, api, make):
    made = [make("task:again", "failed"), make("task:again"), "run_missing"]
    form = {"csrf": csrf_in(browser.get(LIST)), "run": made, "do": "retry", "sure": "yes", "back": LIST}
    browser.post("/ui/projects/default/list/changes", data=form)
    page = browser.get(LIST).text
    for outcome in ("1 retried", "1 had not ended yet", "1 no longer there"):
        assert outcome in page
    newest = api.get("/projects/default/runs", target="task:again")["data"][0]
    assert newest["retry_of"] == made[0]


@pytest.mark.parametrize(
    "given", [{"run": []}, {"run": [f"r{n}" for n in range(51)]}, {"run": ["r"], "do": "explode"}]
)
def test_a_change_is_of_one_to_fifty_runs(browser, given):
    form = {"csrf": csrf_in(browser.get(LIST)), "do": "cancel", "sure": "yes", "back": LIST} | given
    assert browser.post("/ui/projects/default/list/changes", data=form).status_code == 400


def test_a_reader_is_offered_no_changes_and_refused_them(server, api, make):
    run_id = make("task:readonly")
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    with reader(server, key) as client:
        page = client.get(LIST)
        assert run_id in run_ids_in(page)
        assert 'type="checkbox" name="run"' not in page.text
        form = {"csrf": csrf_in(page), "run": [run_id], "do": "cancel", "sure": "yes", "back": LIST}
        assert client.post("/ui/projects/default/list/changes", data=form).status_code == 403
    assert api.run(run_id)["status"] == "pending"


def test_a_run_may_have_the_id_of_a_page(browser, api):
    for name in ("live", "chart", "chart.json", "list"):
        create(api, "task:names", public_id=name)
    assert sorted(run_ids_in(browser.get(LIST + "?target=task:names"))) == [
        "chart",
        "chart.json",
        "list",
        "live",
    ]
