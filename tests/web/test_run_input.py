"""The form of an input request, with its typed fields."""

import re

import pytest
from playwright.sync_api import expect

from .run_pages import InputRun
from .web_client import WebClient, page_text

OPTIONS = [
    {"value": "s", "label": "Small"},
    {"value": "l", "label": "Large", "description": "twice the price"},
]
FIELDS = (
    {"name": "city", "label": "City", "type": "text", "required": True, "description": "Where it goes to"},
    {"name": "mail", "label": "Mail", "type": "email"},
    {"name": "site", "label": "Site", "type": "url", "placeholder": "https://…"},
    {"name": "pin", "label": "Pin", "type": "password"},
    {"name": "count", "label": "Count", "type": "number", "min": 1, "max": 9},
    {"name": "notes", "label": "Notes", "type": "textarea", "rows": 4},
    {"name": "size", "label": "Size", "type": "select", "options": OPTIONS},
    {"name": "speed", "label": "Speed", "type": "radio", "options": OPTIONS},
    {"name": "gift", "label": "A gift", "type": "checkbox", "defaultValue": True},
    {"name": "csrf", "label": "Sure?", "type": "confirm", "confirmLabel": "Send it", "denyLabel": "Keep it"},
)
FILLED = {
    "value.city": "Oslo",
    "value.mail": "ada@example.com",
    "value.site": "https://example.com",
    "value.pin": "s3cr3t-pin",
    "value.count": "3",
    "value.notes": " one\r\ntwo ",
    "value.size": "l",
    "value.speed": "s",
    "value.gift": "true",
    "value.csrf": "true",
}


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


@pytest.fixture
def asking(api):
    return InputRun(api, *FIELDS, title="Where to?", description="Two lines\nof it")


def controls(page):
    """The controls of the form, by field name."""
    found = re.findall(r"<(input|textarea|select)\b([^>]*)>", page.text)
    return {
        name[1].removeprefix("value."): attributes
        for _, attributes in found
        if (name := re.search(r'name="([^"]*)"', attributes)) and name[1].startswith("value.")
    }


def test_a_form_has_a_control_for_each_field(web_client, asking):
    page = web_client.get(asking.page)
    text = page_text(page)
    for expected in (
        "Where to?",
        "Two lines",
        "City (required)",
        "Where it goes to",
        "Large: twice the price",
        "Keep it",
        "Stored encrypted until the run ends, for its worker.",
    ):
        assert expected in text
    shown = controls(page)
    assert set(shown) == {field["name"] for field in FIELDS}
    assert "required" in shown["city"]
    assert 'type="password"' in shown["pin"]
    assert 'min="1"' in shown["count"]
    assert "checked" in shown["gift"]


def test_the_values_of_a_form_reach_the_run(web_client, asking):
    text = web_client.submit(f"{asking.page}/input", request=asking.request, **FILLED)
    assert "The form was sent. The run continues." in text
    asked = asking.input_request()
    assert asked["status"] == "submitted"
    assert asked["latest_response"]["values"] == {
        "city": "Oslo",
        "mail": "ada@example.com",
        "site": "https://example.com",
        "pin": None,
        "count": 3,
        "notes": " one\ntwo ",
        "size": "l",
        "speed": "s",
        "gift": True,
        "csrf": True,
    }
    assert asked["latest_response"]["withheld"] == ["pin"]
    assert asking.stored()["status"] == "running"


def test_an_unchecked_box_is_false_and_an_empty_field_is_null(web_client, asking):
    web_client.post(
        f"{asking.page}/input", request=asking.request, **{"value.city": "Oslo", "value.csrf": "false"}
    )
    values = asking.input_request()["latest_response"]["values"]
    assert values["gift"] is False
    assert values["csrf"] is False
    assert values["count"] is None


def test_an_error_is_shown_at_its_field_and_only_secrets_are_cleared(web_client, asking):
    sent = {**FILLED, "value.city": "", "value.mail": "nowhere", "value.count": "12", "value.csrf": "false"}
    page = web_client.post(f"{asking.page}/input", 400, request=asking.request, **sent)
    text = page_text(page)
    assert "City is required" in text
    assert "Mail must be an e-mail address" in text
    assert "Count is larger than the field's max" in text
    shown = controls(page)
    assert 'aria-invalid="true"' in shown["mail"]
    assert 'value="nowhere"' in shown["mail"]
    assert 'value="12"' in shown["count"]
    assert "s3cr3t-pin" not in page.text
    assert re.search(r'value="false" checked', page.text)
    assert re.search(r'<option value="l" selected', page.text)
    assert " one\ntwo </textarea>" in page.text.replace("\r", "")
    assert asking.input_request()["status"] == "open"


def test_a_form_is_cancelled(web_client, asking):
    text = web_client.submit(f"{asking.page}/input/cancel", request=asking.request)
    assert "The form was cancelled" in text
    assert asking.input_request()["status"] == "cancelled"


def test_a_form_that_was_answered_meanwhile_is_refused(web_client, api, asking):
    path = f"/conversations/{asking.conversation}/input-requests/{asking.request}/responses"
    api.post(path, {"values": {"city": "Bergen"}})
    page = web_client.post(f"{asking.page}/input", 409, request=asking.request, **FILLED)
    assert 'role="alert"' in page.text
    assert "s3cr3t-pin" not in page.text


def test_too_much_is_refused(web_client, asking):
    sent = {**FILLED, **{f"value.{name}": "x" * 60_000 for name in ("city", "notes", "mail")}}
    assert "larger than 128 KiB" in page_text(
        web_client.post(f"{asking.page}/input", 400, request=asking.request, **sent)
    )


def test_a_form_is_filled_in_in_a_browser(open_tab, asking):
    page = open_tab(asking.page).page
    page.get_by_label("City").fill("Oslo")
    page.get_by_label("Pin").fill("1234")
    page.get_by_label("Count").fill("4")
    page.get_by_label("Size").select_option("Small")
    page.get_by_role("radio", name="Large").check()
    page.get_by_label("A gift").uncheck()
    page.get_by_label("Send it").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The form was sent. The run continues.")).to_be_visible()
    values = asking.input_request()["latest_response"]["values"]
    assert (values["city"], values["count"], values["size"], values["gift"]) == ("Oslo", 4, "s", False)
