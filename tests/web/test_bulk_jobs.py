"""Bulk jobs in the dashboard: all runs that match the filters of the list."""

import re

import pytest

from tests.support.until import until

from .run_pages import TaskRun
from .web_client import WebClient, page_text

LIST = "/ui/projects/default/list/bulk"


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def begin(web_client, page, do):
    token = re.search(r'name="form_token" value="(\w+)"', web_client.get(page).text)[1]
    return web_client.post(page, do=do, form_token=token).headers["location"]


def test_all_runs_that_match_are_cancelled_and_the_page_shows_the_progress(web_client, api):
    first, second = (TaskRun(api, claimed=False, title="Bulk <b>") for _ in range(2))
    page = f"{LIST}?q=Bulk+%3Cb%3E&status=pending"
    listing = web_client.get("/ui/projects/default/runs?q=Bulk+%3Cb%3E&status=pending").text
    assert re.search(r'href="/ui/projects/default/list/bulk\?[^"]*Bulk', listing)
    assert "2 runs match" in page_text(web_client.get(page))
    place = begin(web_client, page, "cancel")
    until(lambda: "● completed 2 of 2 handled" in page_text(web_client.get(place)), "the end of the job")
    assert {run.stored()["status"] for run in (first, second)} == {"cancelled"}
    text = web_client.get(place).text
    assert "Bulk &lt;b&gt;" in text
    assert "hx-get" not in text.partition('id="job"')[2].partition(">")[0]
    assert "The job had already ended." in web_client.submit(f"{place}/cancel")


@pytest.mark.parametrize(
    "query",
    ["status=ended", "kind=job", "label=team", "q=" + "x" * 300, "target=task:a&target=task:b", "q=a%00b"],
)
def test_a_filter_that_the_list_ignores_never_makes_a_job_hit_more_runs(web_client, api, query):
    run = TaskRun(api, claimed=False, title="Bystander")
    assert "choose the runs in the list" in page_text(web_client.get(f"{LIST}?{query}", 400))
    web_client.post(f"{LIST}?{query}", 400, do="cancel")
    assert run.stored()["status"] == "pending"


def test_runs_that_refuse_are_listed(web_client, api):
    run = TaskRun(api, claimed=False, title="Refuses")
    place = begin(web_client, f"{LIST}?q=Refuses", "retry:failed")
    until(lambda: "1 refused" in page_text(web_client.get(place)), "the end of the job")
    text = page_text(web_client.get(place))
    assert f"{run.id} : Only a run that has ended can be retried: it is pending" in text
    assert "Retry 1 run from the failed step" in text
