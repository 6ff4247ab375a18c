"""The pages of alert rules."""

import pytest

from tests.support.until import until

from .plain_browser import PlainBrowser, refusal
from .run_pages import TaskRun
from .web_client import page_text

PAGE = "/ui/projects/default/alerts"
HOSTILE = '<script>alert(1)</script>"&'


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for noun in ("alerts", "webhooks"):
        for one in api.get(f"/projects/default/{noun}")["data"]:
            api.http.delete(f"/projects/default/{noun}/{one['id']}").raise_for_status()


def only(api):
    (one,) = api.get("/projects/default/alerts")["data"]
    return one


def test_a_rule_is_created_once_shown_changed_muted_tested_and_deleted(browser, api):
    assert "The project has no webhook" in browser.page(PAGE)
    fields = {"kind": "failure_rate", "name": HOSTILE, "target": "task:report", "threshold": "0.25"}
    to, ready = browser.form(PAGE, "/alerts")
    for _ in range(2):
        assert browser.http.post(to, data=ready | fields).status_code == 303
    mine = only(api)
    assert (mine["name"], mine["threshold"], mine["webhook_id"]) == (HOSTILE, 0.25, None)
    at = f"{PAGE}/{mine['id']}"
    until(lambda: only(api)["evaluated_at"] is not None, "the rule to be evaluated")
    for page in (browser.page(PAGE), browser.page(at)):
        assert "<script>alert(1)" not in page
        assert "25%" in page
        assert "failure rate" in page
    assert browser.send(at, "/test").status_code == 409
    hook = {"url": "https://hooks.invalid/a", "events": ["alert.fired"], "format": "slack"}
    hook = api.post("/projects/default/webhooks", hook)["webhook"]["id"]
    browser.flash_after(
        browser.send(at, f"/alerts/{mine['id']}", {"webhook_id": hook, "threshold": "0.5", "name": "N"})
    )
    assert [only(api)[name] for name in ("webhook_id", "threshold", "name")] == [hook, 0.5, "N"]
    assert "for 1 webhook." in browser.flash_after(browser.send(at, "/test"))
    browser.flash_after(browser.send(at, "/mute", {"seconds": "3600"}))
    assert only(api)["muted_until"] is not None
    assert "muted until" in page_text(browser.get(at))
    browser.flash_after(browser.send(at, "/unmute"))
    assert not only(api)["muted"]
    browser.flash_after(browser.send(at, f"/alerts/{mine['id']}", {"webhook_id": ""}))
    assert only(api)["webhook_id"] is None
    browser.flash_after(browser.send(at, "/disable"))
    assert not only(api)["enabled"]
    browser.flash_after(browser.send(at, "/enable"))
    browser.flash_after(browser.send(at, "/delete"))
    assert api.get("/projects/default/alerts")["data"] == []


def test_a_rule_that_fires_is_first_and_has_a_history(browser, api):
    api.post("/projects/default/alerts", {"kind": "delivery_failed", "name": "Quiet one"})
    run = TaskRun(api, claimed=False)
    target = f"task:{run.id}"
    api.post("/projects/default/alerts", {"kind": "pending_age", "threshold": 0.001, "target": target})
    first = lambda: api.get("/projects/default/alerts")["data"][0]  # noqa: E731
    until(lambda: first()["firing"], "the rule to fire")
    text = page_text(browser.get(PAGE))
    assert text.index(target) < text.index("Quiet one")
    assert "firing" in text
    assert "sent" in page_text(browser.get(f"{PAGE}/{first()['id']}"))
    api.post(f"/runs/{run.id}/cancel")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"threshold": "much"}, "The threshold is a number over 0"),
        ({"threshold": "2"}, "The threshold of failure_rate is over 0 and at most 1"),
        ({"window_seconds": "5"}, "The window has 900 to 86400 seconds"),
        ({"schedule_id": "x"}, "Write the id of a schedule"),
        ({"kind": "worker_silent", "target": "task:a"}, "take a target"),
    ],
)
def test_an_invalid_rule_is_rejected_at_its_form_and_keeps_its_fields(browser, api, fields, sentence):
    answer = browser.send(PAGE, "/alerts", {"kind": "failure_rate", "name": "Kept"} | fields)
    assert answer.status_code == 400
    assert sentence in refusal(answer)
    assert 'value="Kept"' in answer.text
    assert api.get("/projects/default/alerts")["data"] == []
