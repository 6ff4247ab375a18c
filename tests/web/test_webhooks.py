"""Webhooks with their deliveries."""

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .plain_browser import PlainBrowser, refusal

PAGE = "/ui/projects/default/webhooks"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for kind in ("webhooks", "triggers"):
        for one in api.get(f"/projects/default/{kind}")["data"]:
            api.http.delete(f"/projects/default/{kind}/{one['id']}").raise_for_status()


def create(browser, **fields):
    answer = browser.send(PAGE, "/webhooks", {"url": "https://example.com/in", "events": ["*"]} | fields)
    assert answer.status_code == 200, answer.text
    return answer


def only(api, kind="webhooks"):
    (one,) = api.get(f"/projects/default/{kind}")["data"]
    return one


def secret_in(answer):
    return answer.text.partition('<code id="secret" tabindex="0">')[2].partition("<")[0]


def test_a_webhook_is_created_and_its_secret_shown_once(browser, api):
    answer = create(browser, events=["run.failed", "run.completed"])
    secret = secret_in(answer)
    assert secret.startswith("whsec_")
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    made = only(api)
    assert (made["url"], made["events"]) == ("https://example.com/in", ["run.failed", "run.completed"])
    page = browser.page(PAGE) + browser.page(f"{PAGE}/{made['id']}")
    assert "https://example.com/in" in page
    assert secret not in page


def test_a_form_that_is_sent_again_makes_no_other_webhook(browser, api):
    to, ready = browser.form(PAGE, "/webhooks")
    filled = ready | {"url": "https://example.com/in", "events": "*"}
    assert "whsec_" in browser.http.post(to, data=filled).text
    again = browser.http.post(to, data=filled)
    assert "whsec_" not in again.text
    assert browser.flash_after(again).startswith("The webhook was created when the form was first sent.")
    only(api)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"events": []}, "No event is chosen"),
        ({"url": ""}, "The URL is missing"),
        ({"url": "ftp://example.com"}, "url: "),
        ({"secret": "whsec_short"}, "The secret must be whsec_"),
    ],
)
def test_an_invalid_webhook_is_rejected_at_its_form(browser, api, fields, sentence):
    given = {"url": "https://example.com/in", "events": ["*"]} | fields
    answer = browser.send(PAGE, "/webhooks", given)
    assert answer.status_code == 400
    assert sentence in refusal(answer)
    assert f'value="{given["url"]}"' in answer.text
    assert api.get("/projects/default/webhooks")["data"] == []


def test_a_webhook_is_changed_disabled_enabled_and_deleted(browser, api):
    create(browser)
    mine = f"{PAGE}/{only(api)['id']}"
    browser.flash_after(
        browser.send(mine, mine, {"url": "https://example.com/other", "events": ["run.failed"]})
    )
    assert (only(api)["url"], only(api)["events"]) == ("https://example.com/other", ["run.failed"])
    assert refusal(browser.send(mine, mine, {"url": "https://example.com/other"})).startswith("No event")
    browser.flash_after(browser.send(mine, "/disable"))
    assert not only(api)["enabled"]
    assert "Send a test" not in browser.page(mine)
    browser.flash_after(browser.send(mine, "/enable"))
    assert only(api)["enabled"]
    browser.flash_after(browser.send(mine, "/delete"))
    assert api.get("/projects/default/webhooks")["data"] == []
    assert browser.get(mine).status_code == 404


def test_a_webhook_gets_a_new_secret_which_is_shown_once(browser, api):
    first = secret_in(create(browser))
    mine = f"{PAGE}/{only(api)['id']}"
    to, fields = browser.form(mine, "/rotate")
    second = secret_in(browser.http.post(to, data=fields))
    assert second.startswith("whsec_")
    assert second != first
    assert browser.flash_after(browser.http.post(to, data=fields)).startswith("The secret was created")
    page = browser.page(mine)
    assert "Old secret valid until" in page
    assert second not in page
    assert only(api)["old_secret_until"] is not None


def test_a_failing_delivery_is_shown_with_its_payload_and_redelivered(browser, api):
    # Private addresses are not called by default.
    made = api.create(api.project_id(), "task:sent", name="Send it")
    create(browser, url="https://webhook.invalid/in", events=["run.completed"])
    mine = f"{PAGE}/{only(api)['id']}"
    api.complete(made["run_id"])
    until(
        lambda: "next attempt" in browser.page(mine) and ">1</td>" in browser.page(mine), "a failed attempt"
    )
    page = browser.page(mine)
    assert f"/ui/projects/default/runs/{made['run_id']}" in page
    path = page.partition('<td data-label="Event" class="name"><a href="')[2].partition('"')[0]
    shown = browser.page(path)
    assert made["run_id"] in shown.partition("<pre")[2]
    assert "Send it" in shown.partition("<pre")[2]
    flash = browser.flash_after(browser.send(mine, "/redeliver"))
    assert flash == "run.completed was queued again."
    assert "No run" not in browser.page(f"{mine}?status=pending")
    assert "No delivered deliveries." in browser.page(f"{mine}?status=delivered")


def test_deliveries_are_paged(browser, api):
    create(browser, url="https://webhook.invalid/in")
    mine = f"{PAGE}/{only(api)['id']}"
    project = api.project_id()
    made = [api.create(project, "task:pages")["run_id"] for _ in range(26)]
    for run_id in made:
        api.complete(run_id)
        api.http.post(f"/projects/default/webhooks/{only(api)['id']}/test").raise_for_status()
    first = browser.page(mine)
    older = first.partition('<p class="paging"><a href="')[2].partition('"')[0]
    rest = browser.page(older)
    assert first.count("/redeliver") == 50
    assert rest.count("/redeliver") == 2
    assert browser.get(f"{mine}?cursor=x").status_code == 400


def test_a_caller_without_admin_sees_a_note(server, api, browser):
    create(browser)
    made = api.post("/projects/default/api-keys", {"name": "writer"})
    with PlainBrowser(server.url, made["key"]) as other:
        for path in (PAGE, f"{PAGE}/{only(api)['id']}", f"{PAGE}/{only(api)['id']}/deliveries/x"):
            answer = other.get(path)
            assert answer.status_code == 403
            assert "does not have the scope" in answer.text
            assert "example.com" not in answer.text
        _, fields = other.form(PAGE, "/ui/sign-out")
        fields |= {"url": "https://example.com/mine", "events": "*", "form_token": "x"}
        assert other.http.post(PAGE, data=fields).status_code == 403
    assert only(api)["url"] == "https://example.com/in"


def test_a_webhook_is_created_in_a_browser_and_its_deliveries_appear(open_tab, api):
    tab = open_tab(PAGE)
    page = tab.page
    page.get_by_label("URL").fill("https://webhook.invalid/in")
    page.get_by_label("all events").check()
    page.get_by_role("button", name="Create the webhook").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    page.get_by_role("link", name="I have stored it").click()
    expect(page.get_by_text("No deliveries yet.")).to_be_visible()
    api.complete(api.create(api.project_id(), "task:live")["run_id"])
    expect(page.get_by_role("link", name="run.completed")).to_be_visible()
