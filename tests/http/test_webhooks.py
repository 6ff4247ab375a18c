"""Webhooks over HTTP, with a receiver on a real port."""

import asyncio
import base64
import hmac
import json
import logging
import time
import uuid
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest

from runstead.core import limits
from runstead.core.webhooks.webhook import Webhook, new_delivery, secret_of
from runstead.loops.deliverer import Deliverer
from runstead.security.egress import Egress
from tests.support.until import eventually

from .pushed import Service

pytestmark = pytest.mark.postgres

FINE = (200, {})


class Receiver(Service):
    """The receiver of a webhook, and a deliverer that runs on `tick`."""

    def __init__(self, api):
        super().__init__()
        self.api = api
        self.deliverer = Deliverer(api.app)

    @property
    def path(self):
        return f"/projects/{self.api.project.slug}/webhooks"

    async def hook(self, *events, status=201, **members):
        body = {"url": f"{self.url}/in?key=1", "events": list(events) or ["*"], **members}
        return await self.api.post(self.path, body, status, by="admin")

    async def tick(self):
        await self.deliverer.tick()
        await self.deliverer.idle()

    async def log(self, hook, query=""):
        page = await self.api.get(f"{self.path}/{hook['webhook']['id']}/deliveries{query}", by="admin")
        return page["data"]

    async def shown(self, hook):
        return await self.api.get(f"{self.path}/{hook['webhook']['id']}", by="admin")

    async def finish(self, **members):
        run = await self.api.create()
        await self.api.complete(run["run_id"], **members)
        return run["run_id"]


@pytest.fixture
async def receiver(api):
    async with Receiver(api) as made:
        yield made
        await made.deliverer.close()


def verify(secret, request):
    """Verify a request as Standard Webhooks specifies. Returns its payload."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.raw
    mac = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    signatures = dict(one.split(",", 1) for one in headers["webhook-signature"].split(" "))
    assert hmac.compare_digest(base64.b64encode(mac).decode(), signatures["v1"])
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    return request.body


async def test_a_webhook_is_created_with_a_secret_that_is_shown_once(receiver, api):
    made = await receiver.hook("run.completed")
    hook = made["webhook"]
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"][6:])) == 32
    assert (hook["enabled"], hook["events"], hook["url"]) == (
        True,
        ["run.completed"],
        f"{receiver.url}/in?key=1",
    )
    assert hook["project_id"] == api.project.id
    assert hook["disabled_at"] is hook["disabled_reason"] is hook["failing_since"] is None
    listed = await api.send("GET", receiver.path, by="admin")
    one = await api.send("GET", f"{receiver.path}/{hook['id']}", by="admin")
    changed = await api.send("PATCH", f"{receiver.path}/{hook['id']}", {"enabled": True}, by="admin")
    assert listed.json()["data"] == [one.json()] == [hook]
    for response in (listed, one, changed):
        assert made["secret"] not in response.text
        assert "whsec_" not in response.text


async def test_a_replay_shows_no_secret_and_creates_no_second_webhook(receiver, api):
    headers = {"Idempotency-Key": "k"}
    body = {"url": "https://a.example/in", "events": ["*"]}
    first = await api.post(receiver.path, body, 201, by="admin", headers=headers)
    again = await api.post(receiver.path, body, 201, by="admin", headers=headers)
    assert again == first | {"secret": None}
    assert len((await api.get(receiver.path, by="admin"))["data"]) == 1


def signers(request, secrets):
    """Return the secrets that signed the request, in order."""
    found = []
    for one in request.headers["webhook-signature"].split(" "):
        for name, secret in secrets.items():
            signed = {**request.headers, "webhook-signature": one}
            with suppress(AssertionError):
                verify(secret, SimpleNamespace(headers=signed, raw=request.raw, body=request.body))
                found.append(name)
    return found


async def test_after_a_rotation_both_secrets_sign_pending_deliveries_too(receiver, api):
    made = await receiver.hook("run.completed")
    path = f"{receiver.path}/{made['webhook']['id']}"
    await receiver.finish()
    rotated = await api.post(f"{path}/rotate", by="admin")
    assert rotated["secret"] != made["secret"]
    assert rotated["webhook"]["old_secret_until"] == "2026-03-21T12:00:00.000Z"
    await receiver.tick()
    secrets = {"old": made["secret"], "new": rotated["secret"]}
    assert signers(receiver.requests[-1], secrets) == ["new", "old"]
    third = await api.post(f"{path}/rotate", {"secret": "whsec_" + "A" * 32}, by="admin")
    assert third["secret"] == "whsec_" + "A" * 32
    await receiver.finish()
    await receiver.tick()
    assert signers(receiver.requests[-1], secrets | {"third": third["secret"]}) == ["third", "new"]
    shown = await api.send("GET", path, by="admin")
    assert "whsec_" not in shown.text
    assert shown.json() == third["webhook"]


async def test_a_rotation_is_replayed_without_its_secret_and_refuses_malformed_ones(receiver, api):
    made = await receiver.hook()
    path = f"{receiver.path}/{made['webhook']['id']}/rotate"
    first = await api.post(path, {}, by="admin", headers={"Idempotency-Key": "k"})
    again = await api.post(path, {}, by="admin", headers={"Idempotency-Key": "k"})
    assert again == first | {"secret": None}
    problem = await api.refused(400, "INVALID_REQUEST", "POST", path, {"secret": "whsec_short"}, by="admin")
    assert [one["path"] for one in problem["errors"]] == ["$.secret"]
    assert await receiver.shown(made) == first["webhook"]
    await api.refused(404, "NOT_FOUND", "POST", f"{receiver.path}/unknown/rotate", {}, by="admin")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": "ftp://a.example"}, "$.url"),
        ({"url": "https://user:pass@a.example"}, "$.url"),
        ({"url": "x" * 2_049}, "$.url"),
        ({"events": []}, "$.events"),
        ({"events": ["run.exploded"]}, "$.events[0]"),
        ({"secret": "whsec_short"}, "$.secret"),
        ({"secret": "whsec_" + "A" * 33}, "$.secret"),
    ],
)
async def test_a_malformed_webhook_is_refused(receiver, api, change, path):
    body = {"url": "https://a.example/in", "events": ["*"]} | change
    problem = await api.refused(400, "INVALID_REQUEST", "POST", receiver.path, body, by="admin")
    assert [one["path"] for one in problem["errors"]] == [path]
    assert (await api.get(receiver.path, by="admin"))["data"] == []


async def test_a_private_address_is_refused_unless_allowed(receiver, api):
    api.app.egress = Egress()
    for url in (
        "http://127.0.0.1/in",
        "http://localhost/in",
        "http://169.254.169.254/latest",
        "http://[::1]/",
    ):
        body = {"url": url, "events": ["*"]}
        problem = await api.refused(400, "INVALID_REQUEST", "POST", receiver.path, body, by="admin")
        assert "is not public" in problem["detail"]


async def test_a_name_that_resolves_to_a_private_address_is_not_called(receiver, api):
    async def inside(_host, _port):
        return ["127.0.0.1"]

    hook = await receiver.hook(url=f"http://hooks.example:{receiver.port}/in")
    api.app.egress = Egress(resolve=inside)
    guarded = Deliverer(api.app)
    await receiver.finish()
    await guarded.tick()
    await guarded.idle()
    await guarded.close()
    (delivery,) = await receiver.log(hook)
    assert (delivery["status"], delivery["last_status_code"]) == ("pending", None)
    assert "not public" in delivery["last_error"]
    assert receiver.requests == []


async def test_only_admins_manage_webhooks(receiver, api):
    hook = (await receiver.hook())["webhook"]["id"]
    one = f"{receiver.path}/{hook}"
    calls = [("POST", receiver.path), ("GET", receiver.path), ("GET", one), ("PATCH", one), ("DELETE", one)]
    calls += [
        ("POST", f"{one}/test"),
        ("GET", f"{one}/deliveries"),
        ("POST", f"{one}/deliveries/x/redeliver"),
    ]
    for method, path in calls:
        body = {"url": "https://a.example", "events": ["*"]} if path == receiver.path else {}
        for by in ("default", "read"):
            await api.refused(403, "FORBIDDEN", method, path, body, by=by)
        await api.refused(404, "NOT_FOUND", method, path, body, by="other")
        elsewhere = path.replace(api.project.slug, api.other.slug)
        if "/webhooks/" in elsewhere:
            await api.refused(404, "NOT_FOUND", method, elsewhere, body, by="other")


async def test_a_project_has_a_limit_of_webhooks(receiver, api):
    for _ in range(limits.webhooks_per_project_max):
        await receiver.hook()
    body = {"url": "https://a.example", "events": ["*"]}
    await api.refused(409, "WEBHOOK_LIMIT_REACHED", "POST", receiver.path, body, by="admin")


async def test_an_end_is_delivered_signed_and_logged(receiver):
    hook = await receiver.hook("run.completed")
    run_id = await receiver.finish(output={"n": 1})
    await receiver.tick()
    (request,) = receiver.requests
    found = verify(hook["secret"], request)
    assert (request.method, request.path) == ("POST", "/in?key=1")
    assert request.headers["content-type"] == "application/json"
    assert (found["type"], found["data"]["run_id"], found["data"]["output"]) == (
        "run.completed",
        run_id,
        {"n": 1},
    )
    assert found["data"]["status"] == "completed"
    (delivery,) = await receiver.log(hook)
    assert delivery["id"] == request.headers["webhook-id"]
    assert (delivery["event_type"], delivery["run_id"]) == ("run.completed", run_id)
    assert (delivery["status"], delivery["attempts"], delivery["last_status_code"]) == ("delivered", 1, 202)
    assert delivery["last_error"] is delivery["next_attempt_at"] is None
    assert delivery["delivered_at"] is not None
    assert delivery["duration_ms"] >= 0
    await receiver.tick()
    assert len(receiver.requests) == 1


async def test_a_given_secret_signs(receiver):
    secret = "whsec_" + base64.b64encode(bytes(range(24))).decode()
    hook = await receiver.hook(secret=secret)
    assert hook["secret"] == secret
    await receiver.finish()
    await receiver.tick()
    verify(secret, receiver.requests[0])


async def test_a_failure_is_sent_again_under_the_same_id_and_a_new_signature(receiver, api):
    hook = await receiver.hook()
    receiver.answers += [(500, {}), (302, {}, {"Location": "http://127.0.0.1/"}), FINE]
    await receiver.finish()
    await receiver.tick()
    (delivery,) = await receiver.log(hook)
    assert (delivery["status"], delivery["attempts"], delivery["last_status_code"]) == ("pending", 1, 500)
    assert delivery["last_error"] == "The receiver answered 500"
    assert (await receiver.shown(hook))["failing_since"] is not None
    await receiver.tick()
    assert len(receiver.requests) == 1
    api.clock.advance(5)
    await receiver.tick()
    (delivery,) = await receiver.log(hook)
    assert "redirects are not followed" in delivery["last_error"]
    api.clock.advance(15)
    await receiver.tick()
    (delivery,) = await receiver.log(hook)
    assert (delivery["status"], delivery["attempts"], delivery["last_error"]) == ("delivered", 3, None)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.raw for request in receiver.requests}) == 1
    for request in receiver.requests:
        verify(hook["secret"], request)
    assert (await receiver.shown(hook))["failing_since"] is None


async def test_a_retry_after_is_honoured(receiver, api):
    hook = await receiver.hook()
    receiver.answers += [(429, {}, {"Retry-After": "120"}), FINE]
    await receiver.finish()
    await receiver.tick()
    api.clock.advance(119)
    await receiver.tick()
    assert len(receiver.requests) == 1
    api.clock.advance(1)
    await receiver.tick()
    assert [one["status"] for one in await receiver.log(hook)] == ["delivered"]


async def test_gone_disables_the_webhook_with_a_reason(receiver, api):
    hook = await receiver.hook()
    receiver.answers.append((410, {}))
    await receiver.finish()
    await receiver.tick()
    shown = await receiver.shown(hook)
    assert (shown["enabled"], shown["disabled_at"] is None) == (False, False)
    assert "410" in shown["disabled_reason"]
    await receiver.finish()
    assert [one["status"] for one in await receiver.log(hook)] == ["failed"]
    path = f"{receiver.path}/{hook['webhook']['id']}"
    await api.refused(409, "WEBHOOK_DISABLED", "POST", f"{path}/test", by="admin")
    name = (await receiver.log(hook))[0]["id"]
    await api.refused(409, "WEBHOOK_DISABLED", "POST", f"{path}/deliveries/{name}/redeliver", by="admin")
    response = await api.send("PATCH", path, {"enabled": True}, by="admin")
    assert response.json()["webhook"]["disabled_reason"] is None
    again = [
        await api.send(
            "POST", f"{path}/deliveries/{name}/redeliver", by="admin", headers={"Idempotency-Key": "once"}
        )
        for _ in range(2)
    ]
    assert [(one.status_code, one.json()["delivery"]["id"]) for one in again] == [(202, name)] * 2
    await receiver.tick()
    assert [one["status"] for one in await receiver.log(hook)] == ["delivered"]


async def test_an_endless_answer_is_cut_and_its_status_counts(receiver):
    hook = await receiver.hook()
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * (
        limits.delivery_answer_bytes_max + 1
    )
    receiver.answers.append(endless)
    await receiver.finish()
    await receiver.tick()
    assert [one["status"] for one in await receiver.log(hook)] == ["delivered"]


async def test_a_receiver_that_does_not_answer_delays_no_other(receiver, api):
    dead = await receiver.hook("run.completed", url="http://127.0.0.1:1/in")
    alive = await receiver.hook("run.completed")
    for _ in range(20):
        await receiver.finish()
    while not all(one["status"] == "delivered" for one in await receiver.log(alive)):
        await receiver.tick()
    assert len(receiver.requests) == 20
    assert {one["status"] for one in await receiver.log(dead)} == {"pending"}
    assert "no connection could be made" in (await receiver.log(dead))[-1]["last_error"]


async def test_a_test_is_sent_whatever_the_webhooks_events(receiver, api):
    hook = await receiver.hook("run.failed")
    path = f"{receiver.path}/{hook['webhook']['id']}/test"
    made = (await api.post(path, status=202, by="admin", headers={"Idempotency-Key": "k"}))["delivery"]
    again = (await api.post(path, status=202, by="admin", headers={"Idempotency-Key": "k"}))["delivery"]
    assert made == again
    assert (made["event_type"], made["run_id"], made["status"]) == ("webhook.test", None, "pending")
    await receiver.tick()
    (request,) = receiver.requests
    found = verify(hook["secret"], request)
    assert (found["type"], found["data"]["webhook_id"]) == ("webhook.test", hook["webhook"]["id"])


async def test_the_log_is_paged_and_filtered(receiver, api):
    hook = await receiver.hook("run.completed")
    runs = [await receiver.finish() for _ in range(3)]
    path = f"{receiver.path}/{hook['webhook']['id']}/deliveries"
    first = await api.get(f"{path}?limit=2", by="admin")
    assert [one["run_id"] for one in first["data"]] == runs[:0:-1]
    cursor = first["page_info"]["next"]
    second = await api.get(f"{path}?limit=2&cursor={cursor}", by="admin")
    assert [one["run_id"] for one in second["data"]] == runs[:1]
    assert second["page_info"] == {"self": cursor, "first": None, "next": None, "prev": None}
    assert await receiver.log(hook, "?status=delivered") == []
    for query in ("cursor=x", "cursor=0", "limit=0", "limit=101", "status=lost"):
        await api.refused(400, "INVALID_REQUEST", "GET", f"{path}?{query}", by="admin")


async def test_a_changed_webhook_gets_pending_deliveries_and_a_deleted_one_none(receiver, api):
    hook = await receiver.hook(url="http://127.0.0.1:1/in")
    path = f"{receiver.path}/{hook['webhook']['id']}"
    await receiver.finish()
    body = {"url": f"{receiver.url}/new", "events": ["run.failed", "run.failed"]}
    changed = (await api.send("PATCH", path, body, by="admin")).json()["webhook"]
    assert (changed["url"], changed["events"]) == (f"{receiver.url}/new", ["run.failed"])
    await receiver.tick()
    assert [request.path for request in receiver.requests] == ["/new"]
    await api.refused(400, "INVALID_REQUEST", "PATCH", path, {"url": "nowhere"}, by="admin")
    run = await api.create()
    await api.complete(run["run_id"], "failed")
    assert (await api.send("DELETE", path, by="admin")).json() == {"deleted": True}
    await receiver.tick()
    assert len(receiver.requests) == 1
    await api.refused(404, "NOT_FOUND", "GET", path, by="admin")
    await api.refused(404, "NOT_FOUND", "DELETE", path, by="admin")


async def test_a_project_whose_receivers_never_answer_delays_no_other_project(receiver, api):
    """384 deliveries to 16 webhooks that accept connections and never answer: once 44 s for another project."""
    waiting, reached = asyncio.Event(), asyncio.Event()

    async def tarpit(_):
        await waiting.wait()
        return FINE

    async def at_once(_):
        reached.set()
        return FINE

    async def deliveries(project, url, webhooks, each):
        for _ in range(webhooks):
            hook = Webhook(str(uuid.uuid4()), project.id, url, ("*",), secret_of(bytes(24)), 0, 0)
            await api.store.webhooks.create(hook, lambda _: None)
            for _ in range(each):
                await api.store.webhooks.add(
                    project.id,
                    hook.id,
                    lambda hook, now: new_delivery(str(uuid.uuid4()), hook, "webhook.test", None, b"{}", now),
                )

    receiver.answers = [tarpit] * 384
    async with Service([at_once]) as quick, asyncio.timeout(30):
        await deliveries(api.project, receiver.url, webhooks=16, each=24)
        loop = asyncio.ensure_future(receiver.deliverer.run())
        await eventually(lambda: len(receiver.requests) >= limits.deliveries_max // 8)
        await deliveries(api.other, quick.url, webhooks=1, each=1)
        api.app.publish_deliveries()
        async with asyncio.timeout(2):
            await reached.wait()
        assert len(receiver.requests) == limits.deliveries_max // 8
        waiting.set()
        api.app.stop()
        await loop


async def test_a_notification_wakes_the_deliverer(receiver, api):
    await receiver.hook()
    with api.app.notifier.subscribe("delivery") as hint:
        run = await api.create()
        assert not hint.is_set()
        await api.append(run["run_id"], {"type": "CUSTOM"})
        assert not hint.is_set()
        await api.complete(run["run_id"])
        assert hint.is_set()


async def test_a_week_old_delivery_is_deleted(receiver, api):
    hook = await receiver.hook()
    await receiver.finish()
    await receiver.tick()
    assert await api.app.store.webhooks.prune(limits.delivery_kept_ms, 10) == 0
    api.clock.advance(limits.delivery_kept_ms / 1000 + 1)
    assert await api.app.store.webhooks.prune(limits.delivery_kept_ms, 10) == 1
    assert await receiver.log(hook) == []


@asynccontextmanager
async def logged(monkeypatch):
    lines = []
    for name in ("runstead.loops.deliverer", "runstead.http.framework.endpoint"):
        module = __import__(name, fromlist=["log"])
        for level in ("warning", "exception", "info", "error"):
            monkeypatch.setattr(module.log, level, lambda *a, **k: lines.append(repr((a, k))), raising=False)
    yield lines


async def test_no_secret_and_no_address_is_logged(receiver, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    async with logged(monkeypatch) as lines:
        hook = await receiver.hook()
        receiver.answers += [(410, {})]
        await receiver.finish()
        await receiver.tick()
    assert any("a webhook was disabled" in line for line in lines)
    for line in [
        *lines,
        *(record.getMessage() for record in caplog.records if record.name.startswith("runstead")),
    ]:
        assert hook["secret"] not in line
        assert "key=1" not in line
    assert json.dumps(hook)
