"""Triggers on the page of webhooks."""

import httpx2
import pytest

from .plain_browser import PlainBrowser, refusal

PAGE = "/ui/projects/default/webhooks"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for one in api.get("/projects/default/triggers")["data"]:
        api.http.delete(f"/projects/default/triggers/{one['id']}").raise_for_status()


def only(api):
    (one,) = api.get("/projects/default/triggers")["data"]
    return one


def secret_in(answer):
    return answer.text.partition('<code id="secret" tabindex="0">')[2].partition("<")[0]


def test_a_trigger_is_created_called_rotated_and_deleted(browser, api, server):
    fields = {"target": "task:called", "name": "From the shop", "config": '{"size": 3}'}
    address = secret_in(browser.send(PAGE, "/triggers", fields))
    assert address.startswith(f"{server.url}/triggers/vft_")
    started = httpx2.post(address, json={"order": 7}).raise_for_status().json()
    assert api.run(started["run_id"])["target"] == "task:called"
    page = browser.page(PAGE)
    assert "From the shop" in page
    assert address.rpartition("/")[2] not in page
    newer = secret_in(browser.send(PAGE, "/rotate"))
    assert newer != address
    assert httpx2.post(address).status_code == 404
    browser.flash_after(browser.send(PAGE, "/disable"))
    assert httpx2.post(newer).status_code == 404
    browser.flash_after(browser.send(PAGE, "/enable"))
    httpx2.post(newer).raise_for_status()
    browser.flash_after(browser.send(PAGE, f"/triggers/{only(api)['id']}/delete"))
    assert api.get("/projects/default/triggers")["data"] == []


def test_a_trigger_shows_the_event_that_starts_its_runs(browser, api):
    fields = {"target": "task:ship", "event": "<b>paid</b>", "match": '{"order.<i>id</i>": 7}'}
    browser.send(PAGE, "/triggers", fields)
    page = browser.page(PAGE)
    assert "event <code>&lt;b&gt;paid&lt;/b&gt;</code>" in page
    assert "&#34;order.&lt;i&gt;id&lt;/i&gt;&#34;: 7" in page
    assert only(api)["event"] == {"name": "<b>paid</b>", "match": {"order.<i>id</i>": 7}}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target": "robot:no"}, "The target must be task:"),
        ({"conversation_id": "x"}, "The conversation id is not valid"),
        (
            {"conversation_id": "11111111-1111-4111-8111-111111111111"},
            "Only an agent has a conversation",
        ),
        ({"config": "[1]"}, "The configuration is not a JSON object"),
        ({"config": "{"}, "The configuration is not a JSON object"),
        ({"event": "paid", "match": "[1]"}, "The match is not a JSON object"),
        ({"event": "x" * 129}, "The name of an event has 1 to 128"),
        (
            {"event": "paid", "match": str({f"{n}": n for n in range(9)}).replace("'", '"')},
            "A match has at most 8",
        ),
        ({"signed_with": "short"}, "The signing secret must have 16"),
    ],
)
def test_an_invalid_trigger_is_rejected_at_its_form(browser, api, fields, sentence):
    answer = browser.send(PAGE, "/triggers", {"target": "task:a"} | fields)
    assert answer.status_code == 400
    assert sentence in refusal(answer)
    assert api.get("/projects/default/triggers")["data"] == []


def test_a_trigger_starts_an_agent_in_its_conversation(browser, api):
    project = api.project_id()
    conversation = api.post("/conversations", {"project_id": project})["id"]
    browser.send(PAGE, "/triggers", {"target": "agent:scribe", "conversation_id": conversation})
    assert only(api)["conversation_id"] == conversation
    assert "agent:scribe" in browser.page(PAGE)


def test_a_triggers_name_is_shown_as_text(browser, open_tab):
    name = "</td><script>alert(1)</script>\u202e\"'"
    browser.send(PAGE, "/triggers", {"target": "task:\u2066<img>", "name": name, "config": '{"a": "</pre>"}'})
    page = browser.page(PAGE)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "<img>" not in page
    tab = open_tab(PAGE)
    asked = []
    tab.page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    tab.page.get_by_role("row").filter(has_text="alert(1)").get_by_role("button", name="Delete").click()
    assert asked[0].startswith("Delete the trigger </td><script>alert(1)</script>⟨U+202E⟩\"'?")


def test_rotating_a_trigger_is_idempotent(browser, api):
    browser.send(PAGE, "/triggers", {"target": "task:again"})
    to, fields = browser.form(PAGE, "/rotate")
    newest = secret_in(browser.http.post(to, data=fields))
    assert browser.flash_after(browser.http.post(to, data=fields)).startswith("The URL was created")
    httpx2.post(newest).raise_for_status()
