"""Schedules in the SDK: requests and answers."""

import json
from datetime import UTC, datetime

import httpx2
import pytest

from runstead.sdk import AsyncClient, Calls, Client, Retries

SCHEDULE = {
    "id": "s",
    "project_id": "p",
    "name": "nightly",
    "status": "active",
    "target": {"kind": "task", "id": "count"},
    "schedule": "0 3 * * *",
    "timezone": "UTC",
    "run_count": 2,
    "last_scheduled_at": "2026-03-20T12:00:00.000Z",
    "something_new": 1,
}
PAGES = [("a", "1"), ("b", None)]


@pytest.fixture
def scripted(kit):
    def make(*outcomes):
        script = kit.Script(*outcomes)
        options = {"project": "shop", "retries": Retries(times=1), "sleep": lambda _: None}
        return Client("http://server", "key", transport=httpx2.MockTransport(script), **options), script

    return make


def test_a_schedule_is_created(scripted):
    client, script = scripted(httpx2.Response(201, json={"schedule": SCHEDULE}))
    made = client.schedules.create(
        "nightly", {"kind": "task", "id": "count"}, "0 3 * * *", timezone="Europe/Berlin", max_runs=2
    ).schedule
    (request,) = script.requests
    assert (request.method, request.url.path) == ("POST", "/projects/shop/schedules")
    assert json.loads(request.content) == {
        "name": "nightly",
        "target": {"kind": "task", "id": "count"},
        "schedule": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "max_runs": 2,
    }
    assert request.headers["Idempotency-Key"]
    assert (made.id, made.target.id, made.run_count) == ("s", "count", 2)
    assert made.last_scheduled_at.year == 2026
    assert made.target.conversation_mode is None


def test_schedules_are_listed_and_read(scripted):
    client, script = scripted(
        httpx2.Response(200, json={"schedules": [SCHEDULE], "source_schedules": []}),
        httpx2.Response(200, json=SCHEDULE),
    )
    assert [one.id for one in client.schedules.list(status="active").schedules] == ["s"]
    assert client.schedules.get("s", project="other").name == "nightly"
    assert [str(request.url).removeprefix("http://server") for request in script.requests] == [
        "/projects/shop/schedules?status=active",
        "/projects/other/schedules/s",
    ]


def test_every_page_of_schedules_is_read(scripted):
    pages = [
        {"schedules": [SCHEDULE | {"id": one}], "page_info": {"next": following}} for one, following in PAGES
    ]
    client, script = scripted(*[httpx2.Response(200, json=page) for page in pages])
    assert [one.id for one in client.schedules.iter(status="active")] == ["a", "b"]
    assert [dict(request.url.params) for request in script.requests] == [
        {"status": "active"},
        {"status": "active", "cursor": "1"},
    ]


def test_a_manual_run_is_retried_with_the_same_key(scripted):
    answer = {"run_id": "r", "run_execution_id": "u", "schedule_id": "s"}
    client, script = scripted(httpx2.ReadError("reset"), httpx2.Response(201, json=answer))
    made = client.schedules.run("s", run_name="now")
    assert (made.run_id, made.run_execution_id, made.schedule_id) == ("r", "u", "s")
    first, second = (json.loads(request.content) for request in script.requests)
    assert first == second
    assert first["run_name"] == "now"
    assert first["idempotency_key"]


def test_a_one_time_schedule_is_created():
    once = datetime(2099, 1, 1, tzinfo=UTC)
    call = Calls(project="shop").schedules.create("once", {"kind": "task", "id": "count"}, run_at=once)
    assert json.loads(call.content())["run_at"] == "2099-01-01T00:00:00Z"
    assert "schedule" not in call.body


def test_keys_of_the_runs_of_a_schedule_are_sent_and_removed():
    schedules, target = Calls(project="shop").schedules, {"kind": "task", "id": "count"}
    unique, debounce = {"key": "u", "while": 60}, {"key": "d", "seconds": 5}
    assert schedules.create("n", target, "0 3 * * *", unique=unique).body["unique"] == unique
    assert schedules.create("n", target, "0 3 * * *", debounce=debounce).body["debounce"] == debounce
    changed = schedules.update("s", unique=None, debounce=debounce)
    assert json.loads(changed.content()) == {"unique": None, "debounce": debounce}


def test_a_change_sends_the_given_members_and_null_for_removed_ones(scripted):
    client, script = scripted(*(httpx2.Response(200, json={"schedule": SCHEDULE}) for _ in range(3)))
    client.schedules.update("s", schedule="0 4 * * *", max_runs=None)
    client.schedules.pause("s", "Stock-taking")
    client.schedules.resume("s")
    assert [(request.method, request.url.path) for request in script.requests] == [
        ("PATCH", "/projects/shop/schedules/s")
    ] * 3
    assert [json.loads(request.content) for request in script.requests] == [
        {"schedule": "0 4 * * *", "max_runs": None},
        {"status": "paused", "paused_reason": "Stock-taking"},
        {"status": "active"},
    ]
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 3


def test_a_deletion_the_upcoming_times_and_a_sync(scripted):
    empty = {"created": [SCHEDULE], "updated": [], "removed": [], "unchanged": []}
    client, script = scripted(
        httpx2.Response(200, json={"schedule": SCHEDULE | {"status": "deleting"}}),
        httpx2.Response(200, json={"data": ["2026-03-20T12:00:00.000Z"]}),
        httpx2.Response(200, json=empty),
    )
    assert client.schedules.delete("s").schedule.status == "deleting"
    assert client.schedules.upcoming("s", count=1).data == [datetime(2026, 3, 20, 12, tzinfo=UTC)]
    wanted = [
        {
            "source_trigger_id": "a",
            "name": "n",
            "target": {"kind": "task", "id": "t"},
            "schedule": "0 3 * * *",
        }
    ]
    assert [one.id for one in client.schedules.sync(wanted).created] == ["s"]
    assert [
        (request.method, str(request.url).removeprefix("http://server")) for request in script.requests
    ] == [
        ("DELETE", "/projects/shop/schedules/s"),
        ("GET", "/projects/shop/schedules/s/upcoming?count=1"),
        ("PUT", "/projects/shop/source-schedules"),
    ]
    assert json.loads(script.requests[2].content) == {"schedules": wanted}


def test_every_call_without_a_key_gets_its_own_key():
    calls = Calls(project="shop")
    assert calls.schedules.run("s").body != calls.schedules.run("s").body
    assert calls.schedules.run("s", idempotency_key="k").body == {"idempotency_key": "k"}


async def test_the_async_client_does_the_same(kit):
    script = kit.Script(httpx2.Response(200, json=SCHEDULE))
    client = AsyncClient("http://server", "key", project="shop", transport=httpx2.MockTransport(script))
    assert (await client.schedules.get("s")).status == "active"
