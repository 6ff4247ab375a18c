"""The pages of schedules: list, page, form and actions."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.until import until

from .web_client import WebClient, hidden, page_text

PLACE = "/ui/projects/default/schedules"
FORM = {
    "name": "Nightly inventory",
    "target_kind": "task",
    "target_id": "inventory",
    "conversation_mode": "create_new",
    "when": "cron",
    "schedule": "30 2 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "concurrency_policy": "Forbid",
    "timeout_seconds": "600",
    "backoff_limit": "2",
    "config": '{"path": "."}',
}
HOSTILE = "<script>alert(1)</script>\u202eevil\x1b[31m"


@pytest.fixture(scope="module")
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def made(api, name="Nightly inventory", **members):
    body = {"name": name, "target": {"kind": "task", "id": "inventory"}, "schedule": "30 2 * * MON-FRI"}
    if "run_at" in members:
        del body["schedule"]
    return api.post("/projects/default/schedules", body | members)["schedule"]


def read(api, schedule):
    return api.get(f"/projects/default/schedules/{schedule['id']}")


def row(page, schedule):
    """The text of the schedule's row in the list."""
    found = next(part for part in page.text.split("<tr>") if f"/schedules/{schedule['id']}" in part)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found))


def test_the_list_shows_times_and_health(web_client, api):
    schedule = made(api, timezone="Europe/Berlin")
    text = row(web_client.get(PLACE), schedule)
    assert "At 02:30 on Monday through Friday" in text
    assert "30 2 * * MON-FRI" in text
    assert "Europe/Berlin" in text
    assert "task:inventory" in text
    assert "active" in text
    assert schedule["next_fire_at"][:10] in text


def test_the_list_can_be_searched(web_client, api):
    one, other = made(api, "needle in it"), made(api, "hay")
    found = web_client.get(PLACE, q="NEEDLE").text
    assert one["id"] in found
    assert other["id"] not in found
    api.http.patch(f"/projects/default/schedules/{one['id']}", json={"status": "paused"}).raise_for_status()
    assert one["id"] in web_client.get(PLACE, state="paused").text
    assert one["id"] not in web_client.get(PLACE, state="active").text
    assert "No matching schedules." in page_text(web_client.get(PLACE, q="nowhere"))


def test_a_form_makes_a_schedule(web_client, api):
    answer = web_client.post(PLACE, **FORM)
    place = answer.headers["location"]
    text = page_text(web_client.get(place))
    assert "The schedule was created." in text
    assert "Nightly inventory" in text
    assert "At 02:30 on Monday through Friday" in text
    stored = read(api, {"id": place.rpartition("/")[2]})
    assert stored["config"] == {"path": "."}
    assert (stored["timeout_seconds"], stored["backoff_limit"], stored["max_runs"]) == (600, 2, None)
    assert stored["timezone"] == "Europe/Berlin"


def test_a_form_that_is_sent_twice_makes_one_schedule(web_client, api):
    form = FORM | {"name": "Sent twice", "form_token": hidden(web_client.get(f"{PLACE}/new"), "form_token")}
    web_client.post(PLACE, **form)
    assert "was created when the form was first sent" in web_client.submit(PLACE, **form)
    names = [one["name"] for one in api.get("/projects/default/schedules")["schedules"]]
    assert names.count("Sent twice") == 1


def test_a_time_is_in_the_schedules_zone(web_client, api):
    form = FORM | {"when": "once", "run_at": "2099-07-01T12:00", "max_runs": "", "name": "once"}
    place = web_client.post(PLACE, **form).headers["location"]
    stored = read(api, {"id": place.rpartition("/")[2]})
    assert (stored["run_at"], stored["schedule"]) == ("2099-07-01T10:00:00.000Z", "")
    assert "Once, Wed 2099-07-01 12:00 CEST" in page_text(web_client.get(place))
    assert 'value="2099-07-01T12:00:00"' in web_client.get(f"{place}/edit").text


@pytest.mark.parametrize(
    ("field", "typed", "expected"),
    [
        ("name", "", "A name has 1 to 255 characters"),
        ("target_id", "a\x07b", "Write the target without its kind"),
        ("schedule", "", "Write five cron fields"),
        ("schedule", "61 * * * *", "The minute field '61' is not valid"),
        ("schedule", "0 0 30 2 *", "names a day that none of its months has"),
        ("timezone", "Mars/Olympus", "'Mars/Olympus' is not an IANA time zone"),
        ("timezone", "x" * 200, "Write a time zone of the IANA database"),
        ("max_runs", "many", "A whole number from 1 on"),
        ("max_runs", "0", "A whole number from 1 on"),
        ("timeout_seconds", "", "A whole number of seconds, from 1"),
        ("max_staleness_seconds", "-1", "A whole number of seconds"),
        ("config", "{", "Write a JSON object, such as {}"),
        ("config", "[1]", "Write a JSON object, such as {}"),
        ("concurrency_policy", "Perhaps", "Choose Allow, Forbid or Replace"),
    ],
)
def test_an_error_is_shown_at_its_field(web_client, api, field, typed, expected):
    before = len(api.get("/projects/default/schedules")["schedules"])
    page = web_client.post(PLACE, 400, **FORM | {field: typed})
    at = page.text.partition(f'id="error-{field}">')[2].partition("</span>")[0]
    assert expected in at.replace("&#39;", "'").replace("&#34;", '"')
    assert re.search(rf'name="{field}" aria-invalid="true" aria-describedby="error-{field}"', page.text)
    other = "target_id" if field == "name" else "name"
    assert f'value="{FORM[other]}"' in page.text, "what was typed stays"
    assert len(api.get("/projects/default/schedules")["schedules"]) == before


@pytest.mark.parametrize("moment", ["", "tomorrow", "2020-01-01T00:00"])
def test_an_invalid_or_past_time_is_refused_at_its_field(web_client, moment):
    page = web_client.post(PLACE, 400, **FORM | {"when": "once", "run_at": moment})
    assert 'id="error-run_at"' in page.text


def test_several_errors_are_shown_at_once(web_client):
    page = web_client.post(PLACE, 400, **FORM | {"timeout_seconds": "x", "max_runs": "y", "config": "z"})
    assert [f'id="error-{one}"' in page.text for one in ("timeout_seconds", "max_runs", "config")] == [
        True
    ] * 3
    assert "see the error at the fields" in page_text(page)


def test_an_agents_conversation_is_chosen_in_the_form(web_client, api):
    form = FORM | {"target_kind": "agent", "conversation_mode": "existing"}
    page = web_client.post(PLACE, 400, **form | {"conversation_id": "no uuid"})
    assert "Write the UUID of a conversation" in page.text
    place = web_client.post(PLACE, **form | {"conversation_mode": "none"}).headers["location"]
    stored = read(api, {"id": place.rpartition("/")[2]})
    assert stored["target"]["conversation_mode"] == "none"
    web_client.post(f"{place}/edit", **form | {"conversation_mode": "none", "name": "renamed"})
    stored = read(api, stored)
    assert (stored["name"], stored["target"]["conversation_mode"]) == ("renamed", "none")


def test_an_edit_changes_what_was_changed(web_client, api):
    schedule = made(api, config={"a": 1}, timezone="Europe/Berlin", max_runs=5)
    place = f"{PLACE}/{schedule['id']}"
    page = web_client.get(f"{place}/edit")
    assert 'value="30 2 * * MON-FRI"' in page.text
    assert 'name="max_runs" value="5"' in page.text
    text = web_client.submit(f"{place}/edit", **FORM | {"schedule": "0 6 * * *", "max_runs": ""})
    assert "The schedule was changed." in text
    assert "At 06:00 every day" in text
    stored = read(api, schedule)
    assert (stored["schedule"], stored["max_runs"], stored["config"]) == ("0 6 * * *", None, {"path": "."})
    page = web_client.post(f"{place}/edit", 400, **FORM | {"schedule": "nonsense"})
    assert 'id="error-schedule"' in page.text
    assert read(api, schedule)["schedule"] == "0 6 * * *"


def test_an_ambiguous_local_time_keeps_its_instant(web_client, api):
    second = "2099-10-25T01:30:00.000Z"  # the second 02:30 in Berlin that night
    schedule = made(api, run_at=second, timezone="Europe/Berlin")
    form = FORM | {"when": "once", "run_at": "2099-10-25T02:30:00", "name": "renamed"}
    web_client.post(f"{PLACE}/{schedule['id']}/edit", **form)
    stored = read(api, schedule)
    assert (stored["name"], stored["run_at"]) == ("renamed", second)


def test_the_last_representable_time_is_shown_in_utc(web_client, api):
    schedule = made(api, run_at="9999-12-31T23:30:00Z", timezone="Pacific/Kiritimati")
    for path in ("", "/edit"):
        assert "9999-12-31" in web_client.get(f"{PLACE}/{schedule['id']}{path}").text
    assert "Fri 9999-12-31 23:30 UTC" in row(web_client.get(PLACE), schedule)


def test_a_schedule_is_paused_with_a_reason_and_resumed(web_client, api):
    schedule = made(api)
    place = f"{PLACE}/{schedule['id']}"
    text = web_client.submit(f"{place}/pause", reason="Stock-taking")
    assert "The schedule was paused" in text
    assert "Stock-taking" in text
    assert "None while it is paused." in text
    assert read(api, schedule)["status"] == "paused"
    assert "The schedule was resumed." in web_client.submit(f"{place}/resume", **{"from": "list"})
    assert read(api, schedule)["status"] == "active"
    assert "at most 1,000 characters" in page_text(web_client.post(f"{place}/pause", 400, reason="x" * 1001))


def test_a_button_that_is_pressed_twice_starts_one_run(web_client, api):
    schedule = made(api)
    place = f"{PLACE}/{schedule['id']}"
    key = hidden(web_client.get(place), "key")
    first = web_client.submit(f"{place}/run", key=key)
    assert "was started." in first
    web_client.post(f"{place}/run", key=key)
    runs = api.get("/projects/default/runs", schedule_id=schedule["id"])["data"]
    assert len(runs) == 1
    page = web_client.get(place)
    assert f"/ui/projects/default/runs/{runs[0]['run_id']}" in page.text
    assert "manual" in page_text(page)
    assert f"/ui/projects/default/runs?schedule={schedule['id']}" in page.text


def test_a_failure_is_shown_with_its_run(web_client, api):
    schedule = made(api, target={"kind": "task", "id": "fails"})
    web_client.post(f"{PLACE}/{schedule['id']}/run", key="once")
    run = api.claim(api.register("w"), "task:fails")
    expected = {"terminal_error_code": "EMPTY", "terminal_error_message": f"No stock {HOSTILE}"}
    api.complete(run["run_id"], "failed", **expected)
    page = web_client.get(f"{PLACE}/{schedule['id']}")
    assert "EMPTY: No stock <script>alert(1)</script>⟨U+202E⟩evil␛[31m" in page_text(page)
    assert "<script>alert" not in page.text
    assert page.text.count(f"/runs/{run['run_id']}") >= 2
    listed = row(web_client.get(PLACE, state="failed"), schedule)
    assert "failed" in listed


def test_a_page_shows_the_next_ten_times_in_the_zone(web_client, api):
    schedule = made(api, schedule="0 12 * * *", timezone="Asia/Tokyo")
    section = (
        web_client.get(f"{PLACE}/{schedule['id']}")
        .text.partition('id="next-times"')[2]
        .partition("</table>")[0]
    )
    assert section.count("12:00 JST") == 10
    assert section.count("T03:00:00.000Z") == 10


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"unique": {"key": "eu-1"}}, ("Unique key", "eu-1", "(while active)")),
        ({"unique": {"key": "eu-1", "while": 3600}}, ("Unique key", "eu-1", "1 h")),
        ({"debounce": {"key": "eu-1", "seconds": 30}}, ("Debounce key", "eu-1", "30.0 s")),
    ],
)
def test_a_page_shows_the_keys_of_the_runs(web_client, api, members, shown):
    schedule = made(api, **members)
    facts = web_client.get(f"{PLACE}/{schedule['id']}").text.partition('aria-label="Facts"')[2]
    facts = facts.partition("</section>")[0]
    for text in shown:
        assert text in facts


def test_a_deleted_schedule_disappears(web_client, api):
    schedule = made(api, "short-lived")
    text = web_client.submit(f"{PLACE}/{schedule['id']}/delete")
    assert "The schedule is being deleted" in text
    until(lambda: api.http.get(f"/projects/default/schedules/{schedule['id']}").status_code == 404, "its end")
    text = page_text(web_client.get(f"{PLACE}/{schedule['id']}", 404))
    assert f"No schedule {schedule['id']} in project default" in text


def test_a_schedule_of_the_source_is_marked_and_not_editable(web_client, api):
    definition = {"source_trigger_id": "nightly", "name": "From source", "target": {"kind": "task", "id": "x"},
                  "schedule": "0 1 * * *", "source_path": "jobs/nightly.py"}  # fmt: skip
    api.http.put("/projects/default/source-schedules", json={"schedules": [definition]}).raise_for_status()
    found = api.get("/projects/default/schedules", source_trigger_id="nightly")["schedules"][0]
    page = web_client.get(f"{PLACE}/{found['id']}")
    assert "jobs/nightly.py" in page_text(page)
    assert "Defined in the project's source" in page_text(page)
    assert f"{found['id']}/edit" not in page.text
    assert f"{found['id']}/delete" not in page.text
    assert f"{found['id']}/pause" in page.text
    assert "source" in row(web_client.get(PLACE), found)
    assert "defined in the project's source" in page_text(web_client.get(f"{PLACE}/{found['id']}/edit", 409))
    refused = web_client.post(f"{PLACE}/{found['id']}/edit", 409, **FORM)
    assert "changed there and synced" in page_text(refused)
    web_client.post(f"{PLACE}/{found['id']}/delete", 409)
    copied = web_client.get(f"{PLACE}/new", like=found["id"]).text
    assert 'value="From source (copy)"' in copied


def test_a_schedule_of_an_app_names_the_app(web_client, api):
    definition = {"source_trigger_id": "task:x", "name": "Of an app", "target": {"kind": "task", "id": "x"},
                  "schedule": "0 1 * * *"}  # fmt: skip
    body = {"app": "billing", "schedules": [definition]}
    created = api.http.put("/projects/default/source-schedules", json=body).json()["created"][0]
    text = page_text(web_client.get(f"{PLACE}/{created['id']}"))
    assert "Defined in the code of the app billing , whose workers sync it when they start" in text
    assert 'title="Defined in the app billing"' in web_client.get(PLACE).text


def test_a_reader_is_offered_no_actions_and_refused_them(server, api):
    schedule = made(api)
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader = WebClient(server, key)
    place = f"{PLACE}/{schedule['id']}"
    for page in (reader.get(PLACE), reader.get(place)):
        assert '<form method="post" action="/ui/projects' not in page.text
        assert "New schedule" not in page.text
    reader.get(f"{PLACE}/new", 403)
    reader.post(PLACE, 403, **FORM)
    for what in ("edit", "run", "pause", "resume", "delete"):
        reader.post(f"{place}/{what}", 403, key="k", **FORM)
    assert read(api, schedule)["status"] == "active"
    reader.close()


def test_a_hostile_name_is_shown_as_text(web_client, api):
    schedule = made(api, HOSTILE.replace("\x1b", ""), target={"kind": "task", "id": "<img src=x>"})
    for page in (
        web_client.get(PLACE),
        web_client.get(f"{PLACE}/{schedule['id']}"),
        web_client.get(f"{PLACE}/{schedule['id']}/edit"),
    ):
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "\u202e" not in page.text


def test_the_form_shows_what_belongs_to_the_choice(open_tab, api):
    tab = open_tab(f"{PLACE}/new")
    page = tab.page
    expect(page.get_by_label("Cron")).to_be_visible()
    expect(page.get_by_label("Time", exact=True)).to_be_hidden()
    expect(page.get_by_label("Conversation", exact=True)).to_be_hidden()
    page.get_by_label("one-time").check()
    expect(page.get_by_label("Time", exact=True)).to_be_visible()
    expect(page.get_by_label("Cron")).to_be_hidden()
    page.get_by_label("Kind").select_option("agent")
    expect(page.get_by_label("Conversation", exact=True)).to_be_visible()
    expect(page.get_by_label("Conversation id")).to_be_hidden()
    page.get_by_label("Conversation", exact=True).select_option("existing")
    expect(page.get_by_label("Conversation id")).to_be_visible()
    assert tab.accessibility_violations() == []


def test_a_schedule_is_made_and_deleted_with_a_browser(open_tab, api):
    tab = open_tab(f"{PLACE}/new")
    page = tab.page
    page.get_by_label("Name", exact=True).fill("By browser")
    page.get_by_label("Target", exact=True).fill("inventory")
    page.get_by_label("Cron").fill("* * * *")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("Cron")).to_have_attribute("aria-invalid", "true")
    assert tab.accessibility_violations() == []
    page.get_by_label("Cron").fill("*/5 * * * *")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="By browser")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#toasts")).to_contain_text("The schedule is being deleted")
