"""Webhooks and triggers in the SDK: requests, answers, and secrets that are in no repr or error."""

import json

import httpx2
import pytest

from runstead.sdk import AsyncClient, Client, Retries, RunsteadError

HOOK = {
    "id": "w",
    "project_id": "p",
    "url": "https://a.example/in",
    "events": ["run.completed"],
    "enabled": False,
    "disabled_reason": "why",
    "disabled_at": "2026-03-20T12:00:00.000Z",
    "something_new": 1,
}
DELIVERY = {"id": "msg_1", "webhook_id": "w", "event_type": "run.completed", "status": "pending"}
TRIGGER = {"id": "t", "project_id": "p", "name": "Push", "target": "task:build", "signed": True}


@pytest.fixture
def scripted(kit):
    def make(*outcomes):
        script = kit.Script(*outcomes)
        options = {"project": "shop", "retries": Retries(times=1), "sleep": lambda _: None}
        return Client("http://server", "key", transport=httpx2.MockTransport(script), **options), script

    return make


def sent(script):
    return [
        (
            request.method,
            str(request.url).removeprefix("http://server"),
            json.loads(request.content or b"null"),
        )
        for request in script.requests
    ]


def test_a_webhook_is_created_and_its_secret_is_in_no_repr(scripted):
    client, script = scripted(httpx2.Response(201, json={"webhook": HOOK, "secret": "whsec_x"}))
    made = client.webhooks.create("https://a.example/in", ["run.completed"])
    assert sent(script) == [
        ("POST", "/projects/shop/webhooks", {"url": "https://a.example/in", "events": ["run.completed"]})
    ]
    assert (made.secret, made.webhook.id, made.webhook.enabled) == ("whsec_x", "w", False)
    assert made.webhook.disabled_at.year == 2026
    assert "whsec_x" not in repr(made)


def test_calls_that_show_a_secret_once_are_not_retried(scripted):
    for call in (
        lambda client: client.webhooks.create("https://a.example"),
        lambda client: client.triggers.create("task:build"),
        lambda client: client.webhooks.rotate("w"),
    ):
        client, script = scripted(httpx2.ReadError("reset"))
        with pytest.raises(RunsteadError):
            call(client)
        assert len(script.requests) == 1


def test_a_rotation_with_a_given_secret_is_retried(scripted):
    client, script = scripted(
        httpx2.ReadError("reset"), httpx2.Response(200, json={"webhook": HOOK, "secret": "whsec_x"})
    )
    made = client.webhooks.rotate("w", secret="whsec_x")
    assert (made.secret, "whsec_x" in repr(made)) == ("whsec_x", False)
    assert sent(script) == [("POST", "/projects/shop/webhooks/w/rotate", {"secret": "whsec_x"})] * 2


def test_webhooks_are_read_changed_tested_and_deleted(scripted):
    client, script = scripted(
        httpx2.Response(200, json={"data": [HOOK]}),
        httpx2.Response(200, json=HOOK),
        httpx2.Response(200, json={"webhook": HOOK}),
        httpx2.Response(202, json={"delivery": DELIVERY}),
        httpx2.Response(200, json={"data": [DELIVERY], "page_info": {"next": "7"}}),
        httpx2.Response(202, json={"delivery": DELIVERY}),
        httpx2.Response(200, json={"deleted": True}),
    )
    assert [one.id for one in client.webhooks.list().data] == ["w"]
    assert client.webhooks.get("w").disabled_reason == "why"
    assert client.webhooks.update("w", enabled=True).webhook.id == "w"
    assert client.webhooks.test("w").delivery.id == "msg_1"
    page = client.webhooks.list_deliveries("w", status="failed", cursor="9")
    assert (page.data[0].status, page.page_info.next) == ("pending", "7")
    assert client.webhooks.redeliver("w", "msg_1").delivery.run_id is None
    client.webhooks.delete("w", project="other")
    assert [call[:2] for call in sent(script)] == [
        ("GET", "/projects/shop/webhooks"),
        ("GET", "/projects/shop/webhooks/w"),
        ("PATCH", "/projects/shop/webhooks/w"),
        ("POST", "/projects/shop/webhooks/w/test"),
        ("GET", "/projects/shop/webhooks/w/deliveries?status=failed&cursor=9"),
        ("POST", "/projects/shop/webhooks/w/deliveries/msg_1/redeliver"),
        ("DELETE", "/projects/other/webhooks/w"),
    ]
    assert sent(script)[2][2] == {"enabled": True}


def test_triggers_are_created_read_changed_and_deleted(scripted):
    client, script = scripted(
        httpx2.Response(201, json={"trigger": TRIGGER, "token": "vft_x"}),
        httpx2.Response(200, json={"data": [TRIGGER]}),
        httpx2.Response(200, json=TRIGGER),
        httpx2.Response(200, json={"trigger": TRIGGER}),
        httpx2.Response(200, json={"trigger": TRIGGER, "token": "vft_y"}),
        httpx2.Response(200, json={"deleted": True}),
    )
    made = client.triggers.create("task:build", name="Push", config={"a": 1}, secret="a secret of mine")
    assert (made.token, made.trigger.signed) == ("vft_x", True)
    assert "vft_x" not in repr(made)
    assert client.triggers.list().data[0].target == "task:build"
    assert client.triggers.get("t").name == "Push"
    client.triggers.update("t", enabled=False)
    assert client.triggers.rotate("t").token == "vft_y"
    client.triggers.delete("t")
    body = {"target": "task:build", "name": "Push", "config": {"a": 1}, "secret": "a secret of mine"}
    assert sent(script)[0] == ("POST", "/projects/shop/triggers", body)
    assert [call[:2] for call in sent(script)[3:]] == [
        ("PATCH", "/projects/shop/triggers/t"),
        ("POST", "/projects/shop/triggers/t/rotate"),
        ("DELETE", "/projects/shop/triggers/t"),
    ]


def test_a_trigger_is_retried_with_the_same_key_and_its_token_is_in_no_error(scripted):
    client, script = scripted(httpx2.ReadError("reset"), httpx2.Response(202, json={"run_id": "r"}))
    assert client.triggers.fire("vft_x", {"n": 1}).run_id == "r"
    assert sent(script) == [("POST", "/triggers/vft_x", {"n": 1})] * 2
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    client, _ = scripted(httpx2.ReadError("reset"), httpx2.ReadError("reset"))
    with pytest.raises(RunsteadError) as caught:
        client.triggers.fire("vft_x")
    assert "vft_x" not in f"{caught.value!r} {caught.value}"


async def test_the_async_client_does_the_same(kit):
    script = kit.Script(httpx2.Response(200, json=HOOK))
    client = AsyncClient("http://server", "key", project="shop", transport=httpx2.MockTransport(script))
    assert (await client.webhooks.get("w")).url == "https://a.example/in"
