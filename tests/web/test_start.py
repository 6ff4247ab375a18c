"""The form that starts a run: its fields, the errors at them, and a run that is started again with changes."""

import html
import json
import re

import pytest
from playwright.sync_api import expect

from .plain_browser import PlainBrowser, refusal
from .run_lists import LIST
from .run_pages import RUNS, TaskRun

NEW = "/ui/projects/default/list/new"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


def started(browser, api, answer):
    """The run that a sent form started."""
    assert browser.flash_after(answer) == "The run was started."
    return api.run(answer.headers["location"].rpartition("/")[2])


def error_at(answer, field):
    assert answer.status_code == 400, answer.text
    return html.unescape(re.search(rf'id="error-{field}">(.*?)</span>', answer.text)[1])


def test_a_run_is_started_once_with_its_actor_in_the_audit_log(browser, api):
    to, fields = browser.form(NEW, "/list/new")
    fields |= {"target": "task:report", "title": "Weekly report", "input": '{"week": 12}', "priority": "7"}
    fields |= {"config": '{"draft": true}', "labels": "customer:acme\nteam: a:b\n", "backoff_limit": "2"}
    fields |= {"available_at": "2099-01-01T00:00", "timeout_seconds": "60"}
    run = started(browser, api, browser.http.post(to, data=fields))
    assert (run["kind"], run["target"], run["title"], run["priority"]) == (
        *("task", "task:report"),
        *("Weekly report", 7),
    )
    assert run["labels"] == {"customer": "acme", "team": "a:b"}
    assert (run["input"], run["config"], run["trigger_kind"]) == ({"week": 12}, {"draft": True}, "manual")
    assert (run["timeout_seconds"], run["backoff_limit"]) == (60, 2)
    assert run["available_at"] == "2099-01-01T00:00:00.000Z"
    assert browser.flash_after(browser.http.post(to, data=fields)).endswith("when the form was first sent.")
    (entry,) = api.get("/projects/default/audit", action="run.create")["data"]
    assert (entry["object"]["id"], entry["actor"]["kind"]) == (run["run_id"], "api_key")


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("input", '{"a": 1,\n b}', "Not JSON: Expecting property name enclosed in double quotes at line 2"),
        ("input", "hello", "Text needs double quotes"),
        ("config", "[1]", "object"),
        ("target", "report", "Write the kind and the name, such as task:report"),
        ("priority", "high", "A whole number, from -100 to 100"),
        ("priority", "1000", "A whole number, from -100 to 100"),
        ("timeout_seconds", "0", "A whole number of seconds"),
        ("available_at", "tomorrow", "Write a time such as"),
        ("labels", "acme", "Write one label a line"),
        ("title", "x" * 5_000, "255 characters"),
    ],
)
def test_an_error_is_at_its_field_and_the_values_stay(browser, field, value, error):
    answer = browser.send(NEW, "/list/new", {"target": "task:report", "title": "Kept", field: value})
    assert error in error_at(answer, field)
    assert "see the error at the field" in refusal(answer)
    assert field == "title" or 'value="Kept"' in answer.text


def test_an_agent_gets_a_conversation_and_no_config(browser, api):
    agent = {"target": "agent:guide", "input": "{}"}
    run = started(browser, api, browser.send(NEW, "/list/new", agent))
    assert (run["kind"], run["owner"]["kind"]) == ("agent", "conversation")
    again = started(
        browser,
        api,
        browser.send(
            f"{NEW}?like={run['run_id']}", "/list/new", agent | {"conversation_id": run["conversation_id"]}
        ),
    )
    assert again["conversation_id"] == run["conversation_id"]
    refused = browser.send(NEW, "/list/new", agent | {"config": "{}"})
    assert "has no config" in error_at(refused, "config")
    refused = browser.send(NEW, "/list/new", agent | {"conversation_id": "unknown"})
    assert "UUID" in error_at(refused, "conversation_id")


def test_a_reader_cannot_start_a_run(server, api):
    made = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})
    with PlainBrowser(server.url, made["key"]) as reader:
        assert reader.get(NEW).status_code == 403
        assert "Start a run" not in reader.page(RUNS)


def test_a_run_is_started_again_with_changes_and_suggested_targets(open_tab, api):
    first = TaskRun(api, input={"name": "Ada"}, config={"slow": True}, backoff_limit=3)
    first.complete()
    tab = open_tab(first.page)
    tab.page.get_by_role("link", name="Start again with changes…").click()
    page = tab.page
    expect(page.get_by_label("Target")).to_have_value(f"task:{first.id}")
    assert page.locator(f'#targets option[value="task:{first.id}"]').count() == 1
    page.get_by_label("Input").fill('{"name": "Grace"')
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Input")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#error-input")).to_contain_text("line 1")
    assert tab.accessibility_violations() == []
    page.get_by_label("Input").fill('{"name": "Grace"}')
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("The run was started.")).to_be_visible()
    again = api.run(page.url.rpartition("/")[2])
    assert (again["input"], again["config"], again["backoff_limit"]) == ({"name": "Grace"}, {"slow": True}, 3)
    # The filters offer what exists in the project.
    tab.open(LIST)
    page.get_by_text("More filters").click()
    expect(page.locator("#kinds label")).not_to_have_count(4)
    assert page.locator(f'#targets option[value="task:{first.id}"]').count() == 1


SCHEMA = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "title": "Item <b>", "minLength": 2},
        "count": {"type": "integer", "default": 1, "description": "How many"},
        "gift": {"type": "boolean"},
        "size": {"anyOf": [{"enum": ["s", "m"]}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["item"],
}


def register(api):
    target = {"target": "task:parcel", "description": "Sends\nparcels", "input_schema": SCHEMA}
    body = {
        "implementation_kind": "python",
        "worker_key": "one",
        "targets": [{**target, "validate_input": True}],
    }
    api.post("/agent-workers/projects/default/workers", body)


def test_the_form_of_a_target_has_the_fields_of_its_schema(browser, api):
    register(api)
    page = browser.get(NEW).text
    assert f'href="{NEW}?target=task%3Aparcel"' in page or f'href="{NEW}?target=task:parcel"' in page
    assert "1 online · Sends" in page
    address = f"{NEW}?target=task:parcel"
    page = browser.get(address).text
    assert "Item &lt;b&gt; (required)" in page
    assert re.search(r'id="in.2" name="in.2" aria-describedby="hint-in.2" value="1"', page)
    shown = {"target": "task:parcel", "in.2": "1"}
    filled = shown | {"in.1": "tea", "in.3": "true", "in.4": "m", "in.5": "[1, 2]"}
    run = started(browser, api, browser.send(address, "/list/new", filled))
    assert run["input"] == {"item": "tea", "count": 1, "gift": True, "size": "m", "lines": [1, 2]}

    again = f"{NEW}?like={run['run_id']}"
    other = started(
        browser,
        api,
        browser.send(again, "/list/new", shown | {"in.1": "coffee", "in.3": "true", "in.4": "m", "in.5": ""}),
    )
    assert other["input"] == {"item": "coffee", "count": 1, "gift": True, "size": "m"}

    # A field that would change what the run had is JSON: a browser drops line breaks, and a choice has its options.
    owner, text = {"kind": "project", "id": "default"}, "two\nlines"
    first = {
        "kind": "task",
        "owner": owner,
        "request": {"target": "task:free", "input": {"item": text, "size": "xl"}},
    }
    target = {"target": "task:free", "input_schema": SCHEMA}
    body = {"implementation_kind": "python", "worker_key": "two", "targets": [target]}
    api.post("/agent-workers/projects/default/workers", body)
    run = api.post("/runs", first)["run"]
    again = f"{NEW}?like={run['run_id']}"
    assert "two\\nlines" in html.unescape(browser.get(again).text)
    same = {"target": "task:free", "in.1": json.dumps(text), "in.4": '"xl"'}
    assert started(browser, api, browser.send(again, "/list/new", same))["input"] == {
        "item": text,
        "size": "xl",
    }

    for number, value, error in ((1, "x", "shorter"), (2, "many", "Write a number"), (5, "[1,", "Not JSON")):
        refused = browser.send(address, "/list/new", shown | {"in.1": "tea", f"in.{number}": value})
        assert error in error_at(refused, f"in.{number}")
    refused = browser.send(address, "/list/new", shown | {"in.1": "tea", "in.5": '["x"]'})
    assert "integer" in error_at(refused, "in.5")
    refused = browser.send(address, "/list/new", {"target": "task:other"})
    assert "The target expects another input now" in refusal(refused)

    written = f"{address}&json=1"
    assert started(
        browser,
        api,
        browser.send(written, "/list/new", {"target": "task:parcel", "input": '{"item": "tea"}'}),
    )["input"] == {"item": "tea"}
    refused = browser.send(written, "/list/new", {"target": "task:parcel", "input": '{"item": 1}'})
    assert "string" in error_at(refused, "input")


def test_the_page_of_a_run_reports_that_no_online_worker_serves_it(browser, api):
    for worker in api.get("/agent-workers/projects/default/workers", limit=100)["data"]:
        api.http.delete(
            f"/agent-workers/workers/{worker['id']}"
        ).raise_for_status()  # they may serve any target
    register(api)
    run = api.create(api.project_id(), "task:lonely")
    page = browser.get(f"{RUNS}/{run['run_id']}").text
    assert "In the queue, but no online worker serves task:lonely" in page
