"""The page of budgets, and the form on the page of a run that a budget stopped."""

import pytest

from .plain_browser import PlainBrowser, refusal

PAGE = "/ui/projects/default/usage/budgets"
HOSTILE = '<script>alert(1)</script>"&'


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for one in api.get("/projects/default/budgets")["data"]:
        api.http.delete(f"/projects/default/budgets/{one['id']}").raise_for_status()


def only(api):
    (one,) = api.get("/projects/default/budgets")["data"]
    return one


def test_a_budget_is_created_once_shown_changed_and_deleted(browser, api):
    fields = {"scope_kind": "target", "scope_value": "task:spend", "period": "day", "name": HOSTILE}
    fields |= {"tokens": "10", "on_reached": "pause"}
    to, ready = browser.form(PAGE, "/budgets")
    for _ in range(2):
        assert browser.http.post(to, data=ready | fields).status_code == 303
    mine = only(api)
    assert (mine["name"], mine["limit"]) == (HOSTILE, {"cost": None, "tokens": 10})
    shown = browser.page(PAGE)
    assert "<script>alert(1)" not in shown
    assert "0 of 10 tokens" in shown
    wrong = browser.http.post(to, data=ready | fields | {"tokens": "", "cost": "1,5"})
    assert (wrong.status_code, "such as 2.50" in refusal(wrong)) == (400, True)
    at = f"{PAGE}/{mine['id']}"
    to, ready = browser.form(PAGE, f"/{mine['id']}")
    assert (
        browser.http.post(to, data=ready | {"cost": "3", "tokens": "", "on_reached": "fail"}).status_code
        == 303
    )
    assert (only(api)["limit"]["cost"], only(api)["on_reached"]) == ("3.00", "fail")
    to, ready = browser.form(PAGE, "/delete")
    assert to.endswith(f"{at}/delete")
    assert browser.http.post(to, data=ready).status_code == 303
    assert api.get("/projects/default/budgets")["data"] == []


@pytest.mark.parametrize("decision", ["approve", "raise", "stop"])
def test_a_stopped_run_says_why_and_is_answered_on_its_page(browser, api, decision):
    target = f"task:spend-{decision}"
    body = {"scope": {"kind": "target", "value": target}, "period": "month", "limit": {"tokens": 10}}
    api.post("/projects/default/budgets", body | {"on_reached": "pause", "name": "Spend"})
    for run_id in (f"spender-{decision}", f"stopped-{decision}"):
        request = {"kind": "task", "public_id": run_id, "request": {"target": target}}
        api.post("/runs", request)
    usage = {"provider": "acme", "model": "m", "inputTokens": 10, "outputTokens": 0}
    api.post(f"/runs/spender-{decision}/complete", {"status": "completed", "metadata": usage})
    worker = api.post(
        "/agent-workers/projects/default/workers", {"implementation_kind": "py", "worker_key": decision}
    )
    claim = {"lease_duration_seconds": 60, "targets": [target]}
    assert api.post(f"/agent-workers/workers/{worker['worker']['id']}/claim", claim)["run"] is None
    page = f"/ui/projects/default/runs/stopped-{decision}"
    assert "10 of 10 tokens spent this month (UTC)" in browser.page(page)
    to, ready = browser.form(page, "/budget")
    sent = browser.http.post(to, data=ready | {"decision": decision, "tokens": "5"})
    assert sent.status_code == 303, sent.text
    status = api.get(f"/runs/stopped-{decision}")["status"]
    assert status == {"approve": "running", "raise": "running", "stop": "failed"}[decision]
    assert only(api)["current"]["limit"]["tokens"] == (15 if decision == "raise" else 10)
