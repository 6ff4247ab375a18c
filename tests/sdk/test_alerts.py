"""Alert rules in the SDK: requests, answers and pages."""

import json
from datetime import UTC, datetime

import httpx2
import pytest

from runstead.sdk import AsyncClient, Client

RULE = {
    "id": "a",
    "project_id": "p",
    "name": "Queue",
    "kind": "pending_age",
    "threshold": 300.0,
    "firing": True,
    "firing_since": "2026-03-20T12:00:00.000Z",
    "something_new": 1,
}
ANSWER = httpx2.Response(200, json={"alert": RULE})
FIRINGS = [
    {"id": f"f{n}", "alert_id": "a", "fired_at": "2026-03-20T12:00:00.000Z", "value": n} for n in range(3)
]


def page(firings, following=None):
    return httpx2.Response(200, json={"data": firings, "page_info": {"next": following}})


def sent(script):
    return [
        (
            request.method,
            str(request.url).removeprefix("http://server/projects/shop/alerts"),
            json.loads(request.content or b"null"),
        )
        for request in script.requests
    ]


def test_each_call_is_one_request(kit):
    deleted = httpx2.Response(200, json={"deleted": True})
    tested = httpx2.Response(202, json={"deliveries": []})
    listed = httpx2.Response(200, json={"data": [RULE]})
    script = kit.Script(ANSWER, listed, ANSWER, ANSWER, ANSWER, tested, deleted)
    client = Client("http://server", "key", project="shop", transport=httpx2.MockTransport(script))
    made = client.alerts.create("pending_age", target="task:report", threshold=300).alert
    assert (made.firing, made.firing_since.year, made.muted) == (True, 2026, False)
    assert client.alerts.list().data == [made]
    client.alerts.update("a", threshold=60, any_webhook=True)
    client.alerts.mute("a", until=datetime(2100, 1, 4, tzinfo=UTC))
    client.alerts.unmute("a")
    assert client.alerts.test("a").deliveries == []
    client.alerts.delete("a")
    assert sent(script) == [
        ("POST", "", {"kind": "pending_age", "target": "task:report", "threshold": 300}),
        ("GET", "", None),
        ("PATCH", "/a", {"threshold": 60, "webhook_id": None}),
        ("POST", "/a/mute", {"until": "2100-01-04T00:00:00Z"}),
        ("DELETE", "/a/mute", None),
        ("POST", "/a/test", None),
        ("DELETE", "/a", None),
    ]
    keys = [request.headers.get("Idempotency-Key") for request in script.requests]
    assert [key is not None for key in keys] == [True, False, True, True, False, True, False]


async def test_the_history_is_iterated_over_its_pages(kit):
    script = kit.Script(page(FIRINGS[:2], "7"), page(FIRINGS[2:]))
    async with AsyncClient(
        "http://server", "key", project="shop", transport=httpx2.MockTransport(script)
    ) as client:
        assert [one.value async for one in client.alerts.iter_history("a", limit=2)] == [0, 1, 2]
    assert [path for _, path, _ in sent(script)] == ["/a/history?limit=2", "/a/history?cursor=7&limit=2"]


def test_a_rule_without_an_id_of_a_project_is_refused(kit):
    client = Client("http://server", "key", transport=httpx2.MockTransport(kit.Script()))
    with pytest.raises(ValueError, match="project"):
        client.alerts.list()
