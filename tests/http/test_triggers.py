"""Triggers over HTTP: URLs with a token that start runs."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from runstead.core import limits
from runstead.core.leadership import LeaderState
from runstead.core.webhooks.webhook import secret_of, signature
from runstead.http.framework import endpoint
from runstead.ports import metrics
from runstead.ports.store_metrics import StoreMetrics

SECRET = secret_of(bytes(range(32)))


class Triggers:
    def __init__(self, api):
        self.api = api
        self.path = f"/projects/{api.project.slug}/triggers"

    async def make(self, target="task:build", status=201, **members):
        return await self.api.post(self.path, {"target": target, **members}, status, by="admin")

    async def fire(self, token, body=b"", status=202, **options):
        response = await self.api.send("POST", f"/triggers/{token}", body, by=None, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def refused(self, status, code, token, body=b"", **options):
        answer = await self.fire(token, body, status, **options)
        assert (answer["code"], answer["instance"]) == (code, "/triggers/***")
        assert token not in json.dumps(answer)
        return answer

    async def started(self, token, body=b"", **options):
        return await self.api.run((await self.fire(token, body, **options))["run_id"])


@pytest.fixture
def triggers(api):
    return Triggers(api)


async def test_a_call_with_the_token_alone_starts_a_run_with_the_payload(triggers, api):
    made = await triggers.make(name="Push", config={"branch": "main"})
    answer = await triggers.fire(made["token"], {"ref": "refs/heads/main"})
    assert answer.keys() == {"run_id"}
    run = await api.run(answer["run_id"])
    assert (run["kind"], run["target"], run["status"]) == ("task", "task:build", "pending")
    assert (run["input"], run["config"]) == ({"ref": "refs/heads/main"}, {"branch": "main"})
    assert (run["trigger_kind"], run["trigger_id"]) == ("webhook", made["trigger"]["id"])
    assert (run["title"], run["created_by"], run["owner"]["id"]) == ("Push", None, api.project.id)
    claimed = await api.claim((await api.worker())[0], targets=["task:build"])
    assert claimed["run"]["run_id"] == run["run_id"]


@pytest.mark.parametrize("target", ["workflow:restock", "eval:tone"])
async def test_workflows_and_evals_are_started_as_well(triggers, target):
    made = await triggers.make(target)
    run = await triggers.started(made["token"])
    assert (run["kind"], run["target"]) == (target.partition(":")[0], target)
    assert run["workflow_id"] == ("restock" if target.startswith("workflow") else None)


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        (b"", "application/json", None),
        (b"null", "application/json", None),
        (b"[1, 2]", "application/json", [1, 2]),
        (b'"text"', "application/vnd.a+json", "text"),
        (
            b"a=1&b=x%20y&a=2&c=",
            "application/x-www-form-urlencoded; charset=utf-8",
            {"a": ["1", "2"], "b": "x y", "c": ""},
        ),
    ],
)
async def test_json_and_forms_become_the_input(triggers, body, kind, value):
    made = await triggers.make()
    run = await triggers.started(made["token"], body, headers={"Content-Type": kind})
    assert run["input"] == value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"plain text", "text/plain"),
        (b"a=%ff", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"a&" * 1_001, "application/x-www-form-urlencoded"),
    ],
)
async def test_other_bodies_are_refused_and_start_nothing(triggers, api, body, kind):
    made = await triggers.make()
    await triggers.refused(400, "INVALID_REQUEST", made["token"], body, headers={"Content-Type": kind})
    assert (await api.get("/runs"))["data"] == []


async def test_a_large_payload_is_refused(triggers, api):
    made = await triggers.make()
    large = json.dumps("x" * limits.trigger_body_bytes_max).encode()
    await triggers.refused(413, "BODY_TOO_LARGE", made["token"], large)
    assert (await api.get("/runs"))["data"] == []


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery"])
async def test_a_repeat_returns_the_run_of_the_first_call(triggers, api, header):
    made, other = await triggers.make(), await triggers.make()
    first = await triggers.fire(made["token"], {"n": 1}, headers={header: "k"})
    again = await triggers.fire(made["token"], {"n": 1}, headers={header: "k"})
    assert again == first | {"duplicate": True}
    elsewhere = await triggers.fire(other["token"], {"n": 1}, headers={header: "k"})
    assert elsewhere["run_id"] != first["run_id"]
    await triggers.refused(409, "IDEMPOTENCY_KEY_REUSED", made["token"], {"n": 2}, headers={header: "k"})
    await triggers.refused(400, "INVALID_REQUEST", made["token"], headers={header: "k" * 256})
    assert len((await api.get("/runs"))["data"]) == 2


async def test_unknown_and_disabled_tokens_get_the_same_answer(triggers, api):
    made = await triggers.make()
    path = f"{triggers.path}/{made['trigger']['id']}"
    shown = (await api.send("PATCH", path, {"enabled": False}, by="admin")).json()["trigger"]
    assert (shown["enabled"], shown["disabled_at"] is None) == (False, False)
    disabled = await triggers.refused(404, "NOT_FOUND", made["token"])
    unknown = await triggers.refused(404, "NOT_FOUND", "vft_" + "A" * 43)
    assert disabled | {"request_id": None} == unknown | {"request_id": None}
    await api.send("PATCH", path, {"enabled": True, "name": "Again"}, by="admin")
    assert (await triggers.started(made["token"]))["title"] == "Again"


async def test_a_rotated_token_replaces_the_old_one(triggers, api):
    made = await triggers.make()
    path = f"{triggers.path}/{made['trigger']['id']}/rotate"
    new = await api.post(path, by="admin", headers={"Idempotency-Key": "k"})
    assert new["token"] != made["token"]
    assert await api.post(path, by="admin", headers={"Idempotency-Key": "k"}) == new | {"token": None}
    await triggers.refused(404, "NOT_FOUND", made["token"])
    await triggers.fire(new["token"])


async def test_a_deleted_trigger_starts_nothing_and_its_runs_stay(triggers, api):
    made = await triggers.make()
    run = await triggers.started(made["token"])
    path = f"{triggers.path}/{made['trigger']['id']}"
    assert (await api.send("DELETE", path, by="admin")).json() == {"deleted": True}
    await triggers.refused(404, "NOT_FOUND", made["token"])
    await api.refused(404, "NOT_FOUND", "GET", path, by="admin")
    assert (await api.run(run["run_id"]))["trigger_id"] == made["trigger"]["id"]


async def test_the_token_and_the_secret_are_shown_nowhere_again(triggers, api):
    made = await triggers.make(secret=SECRET)
    assert made["trigger"]["signed"] is True
    path = f"{triggers.path}/{made['trigger']['id']}"
    for place in (triggers.path, path):
        text = (await api.send("GET", place, by="admin")).text
        assert made["token"] not in text
        assert SECRET not in text
    assert (await api.get(triggers.path, by="admin"))["data"] == [made["trigger"]]
    replayed = [
        await api.post(triggers.path, {"target": "task:a"}, 201, by="admin", headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert replayed[1] == replayed[0] | {"token": None}


async def test_only_admins_manage_triggers(triggers, api):
    made = await triggers.make()
    one = f"{triggers.path}/{made['trigger']['id']}"
    calls = [("POST", triggers.path), ("GET", triggers.path), ("GET", one), ("PATCH", one), ("DELETE", one)]
    for method, path in [*calls, ("POST", f"{one}/rotate")]:
        body = {"target": "task:a"} if path == triggers.path else {}
        await api.refused(403, "FORBIDDEN", method, path, body, by="default")
        await api.refused(404, "NOT_FOUND", method, path, body, by="other")
        if "/triggers/" in path:
            elsewhere = path.replace(api.project.slug, api.other.slug)
            await api.refused(404, "NOT_FOUND", method, elsewhere, body, by="other")


@pytest.mark.parametrize(
    "change",
    [
        {"target": "agent:"},
        {"conversation_id": "11111111-1111-4111-8111-111111111111"},
        {"target": "task:"},
        {"target": "build"},
        {"config": {"a": "x" * limits.trigger_config_bytes_max}},
        {"secret": "short"},
        {"secret": "whsec_" + "A" * 20},
    ],
)
async def test_a_malformed_trigger_is_refused(triggers, api, change):
    body = {"target": "task:build"} | change
    await api.refused(400, "INVALID_REQUEST", "POST", triggers.path, body, by="admin")


async def test_a_project_has_a_limit_of_triggers(triggers, api, monkeypatch):
    monkeypatch.setattr(limits, "triggers_per_project_max", 1)
    await triggers.make()
    await api.refused(409, "TRIGGER_LIMIT_REACHED", "POST", triggers.path, {"target": "task:a"}, by="admin")


async def test_a_standard_webhooks_secret_requires_its_signature(triggers, api):
    token = (await triggers.make(secret=SECRET))["token"]
    body, now = b'{"n": 1}', int(time.time())

    def signed(at=now, sent=body, name="msg_1", secret=SECRET):
        mark = f"v1,AAAA {signature(secret, name, at, sent)}"
        return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": mark}

    await triggers.refused(401, "UNAUTHENTICATED", token, body)
    for headers in (
        signed(at=now - 301),
        signed(at=now + 301),
        signed(sent=b"{}"),
        signed(name="msg_2"),
        signed(secret=secret_of(bytes(32))),
        signed() | {"webhook-timestamp": "soon"},
    ):
        await triggers.refused(401, "UNAUTHENTICATED", token, body, headers=headers)
    assert (await api.get("/runs"))["data"] == []
    run = await triggers.started(token, body, headers=signed())
    assert run["input"] == {"n": 1}


async def test_any_other_secret_requires_a_github_signature(triggers, api):
    secret = "a secret of my own"
    token = (await triggers.make(secret=secret))["token"]
    body = b'{"zen": "Keep it logically awesome."}'
    mac = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    await triggers.refused(401, "UNAUTHENTICATED", token, body)
    await triggers.refused(401, "UNAUTHENTICATED", token, body + b" ", headers={"X-Hub-Signature-256": mac})
    run = await triggers.started(token, body, headers={"X-Hub-Signature-256": mac})
    assert run["input"]["zen"]
    assert base64.b64encode(mac.encode()).decode() not in json.dumps(run)


async def test_the_token_is_in_no_answer_no_log_and_no_metric(triggers, api, monkeypatch):
    token = (await triggers.make())["token"]
    lines = []
    monkeypatch.setattr(endpoint.log, "exception", lambda *a, **k: lines.append(repr((a, k))), raising=False)

    async def broken(*_):
        raise RuntimeError("broken")

    await triggers.fire(token)
    monkeypatch.setattr(api.store.triggers, "by_token", broken)
    await triggers.refused(500, "INTERNAL", token)
    for method, path in (
        ("GET", f"/triggers/{token}"),
        ("POST", f"/triggers/{token}/x"),
        ("POST", f"/triggers/{token}%2fx"),
    ):
        response = await api.send(method, path, by=None)
        assert response.status_code in {404, 405}
        assert token not in response.text
    assert len(lines) == 1
    assert token not in lines[0]
    assert token not in metrics.exposition({}, LeaderState(), StoreMetrics()).decode()
