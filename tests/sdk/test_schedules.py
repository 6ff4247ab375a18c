"""Schedules over the SDK: what is sent, and what comes back."""

import json

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


@pytest.fixture
def talk(kit):
    def make(*outcomes):
        script = kit.Script(*outcomes)
        options = {"project": "shop", "retries": Retries(times=1), "sleep": lambda _: None}
        return Client("http://server", "key", transport=httpx2.MockTransport(script), **options), script

    return make


def test_a_schedule_is_created(talk):
    client, script = talk(httpx2.Response(201, json={"schedule": SCHEDULE}))
    made = client.create_schedule(
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


def test_schedules_are_listed_and_read(talk):
    client, script = talk(
        httpx2.Response(200, json={"schedules": [SCHEDULE], "source_schedules": []}),
        httpx2.Response(200, json=SCHEDULE),
    )
    assert [one.id for one in client.list_schedules(status="active").schedules] == ["s"]
    assert client.get_schedule("s", project="other").name == "nightly"
    assert [str(request.url).removeprefix("http://server") for request in script.requests] == [
        "/projects/shop/schedules?status=active",
        "/projects/other/schedules/s",
    ]


def test_a_run_by_hand_is_sent_again_under_the_same_key(talk):
    answer = {"run_id": "r", "run_execution_id": "u", "schedule_id": "s"}
    client, script = talk(httpx2.ReadError("reset"), httpx2.Response(201, json=answer))
    made = client.run_schedule("s", run_name="now")
    assert (made.run_id, made.run_execution_id, made.schedule_id) == ("r", "u", "s")
    first, second = (json.loads(request.content) for request in script.requests)
    assert first == second
    assert first["run_name"] == "now"
    assert first["idempotency_key"]


def test_every_call_without_a_key_has_one_of_its_own():
    calls = Calls(project="shop")
    assert calls.run_schedule("s").body != calls.run_schedule("s").body
    assert calls.run_schedule("s", idempotency_key="k").body == {"idempotency_key": "k"}


async def test_the_awaited_client_does_the_same(kit):
    script = kit.Script(httpx2.Response(200, json=SCHEDULE))
    client = AsyncClient("http://server", "key", project="shop", transport=httpx2.MockTransport(script))
    assert (await client.get_schedule("s")).status == "active"
