"""The fast path and ASGI answer every request of every route with the same bytes."""

import os
import random
import secrets
import sys
import uuid

import msgspec
import pytest

from runstead.http.framework.app import operations
from runstead.http.framework.endpoint import Nothing
from runstead.http.openapi.examples import EXAMPLES

from .pushed import PAIR
from .wire import Wires, body_of, request, status_of

PLAIN = {f"{one.method} {one.path}" for one in operations() if one.plain}
P = "/projects/inventory"


def example(shape, name=None):
    found = EXAMPLES[shape]
    return next(iter(found.values())) if name is None else found[name]


class Recorder:
    """A server with deterministic ids, secrets and times, and a record of all that it sent."""

    def __init__(self, api, plain):
        self.api = api
        self.wires = Wires(api.http_app, plain=plain)
        self.transcript = []
        self.answered = {}  # route → the statuses of its answers

    async def send(self, method, path, body=None, by="admin", **headers):
        if by is not None:
            headers["authorization"] = f"Bearer {self.api.keys.get(by, by)}"
        raw = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"content_type": "application/json", "x_request_id": "same-on-both", **headers}
        sent = request(method, path, raw, **headers)
        answer = await self.wires.ask(sent)
        self.transcript.append((sent, answer))
        found = self.api.http_app.router.find(path.partition("?")[0])
        if found is not None:
            route = f"{method} {found[0].path}"
            self.answered.setdefault(route, set()).add(status_of(answer))
        return answer

    async def do(self, method, path, body=None, **options):
        """Send a request that must succeed. Returns its answer."""
        answer = await self.send(method, path, body, **options)
        assert status_of(answer) < 300, answer
        return msgspec.json.decode(body_of(answer))


@pytest.fixture
def recorded_on_both_paths(monkeypatch, new_driver, new_clock):
    """recorded_on_both_paths(scenario): run it over ASGI and with the fast path. Returns both recorders."""

    async def record(scenario):
        recorders = []
        for plain in (False, True):
            chance = random.Random(11)
            monkeypatch.setattr(uuid, "uuid4", lambda c=chance: uuid.UUID(int=c.getrandbits(128), version=4))
            monkeypatch.setattr(os, "urandom", chance.randbytes)
            monkeypatch.setattr(secrets, "token_bytes", lambda n=32, c=chance: c.randbytes(n))
            monkeypatch.setattr(secrets, "token_hex", lambda n=32, c=chance: c.randbytes(n).hex())
            monkeypatch.setattr(secrets, "token_urlsafe", lambda n=32, c=chance: c.randbytes(n).hex())
            monkeypatch.setattr(random, "random", chance.random)
            clock = new_clock()
            for module in [
                one
                for name, one in sys.modules.items()
                if name.startswith(("runstead.commands.", "runstead.http."))
            ]:
                if hasattr(module, "now_ms"):
                    monkeypatch.setattr(module, "now_ms", clock)
            api = await new_driver(clock)
            await api.store.signing_keys.add(PAIR, only_first=True)
            recorder = Recorder(api, plain)
            await scenario(recorder)
            recorders.append(recorder)
        return recorders

    return record


async def runs(recorder):
    do = recorder.do
    owner = {"kind": "project", "id": recorder.api.project.id}
    task = {**example("CreateRun"), "owner": owner}
    made = await do("POST", "/runs", {**task, "public_id": "first"}, idempotency_key="k")
    assert await do("POST", "/runs", {**task, "public_id": "first"}, idempotency_key="k") == made
    for flow in ({"unique": {"key": "k"}}, {"debounce": {"key": "k", "seconds": 60}}):
        for _ in range(2):
            await do("POST", "/runs", {**task, **flow})
    child = (await do("POST", "/runs", {**task, "parent_run_id": "first"}))["run"]["run_id"]
    await do("POST", "/runs/first/events", example("AppendEvents"))
    await do(
        "POST", "/runs/first/events", b'{\n  "events": [\n    {"type":\t"CUSTOM", "name": "a\\nb"}\n  ]\n}'
    )
    for path in (
        "events",
        "events?limit=1",
        "events/summary",
        "events/1",
        "children",
        "tree",
        "attempts",
        "usage",
        "values",
        "values?name=stage",
    ):
        await do("GET", f"/runs/first/{path}")
    for path in (
        "/runs",
        "/runs?label=team:inventory&limit=1",
        "/runs?q=%C3%A9",
        f"{P}/runs",
        "/runs/event-types",
    ):
        await do("GET", path)
    run = await do("GET", "/runs/first")
    assert status_of(await recorder.send("GET", "/runs/first", if_none_match=run["etag"])) == 304
    await do("PATCH", "/runs/first", example("UpdateRun"), if_match=run["etag"])
    await do("POST", f"/runs/first/children/{child}/event-writer-token")
    await do("POST", "/runs/first/pause")
    await do("POST", "/runs/first/resume", {"type": "unpause"})
    worker = await do("POST", f"/agent-workers{P}/workers", example("RegisterWorker"))
    await do("GET", f"/agent-workers{P}/workers")
    await do("GET", f"{P}/targets")
    await do("GET", f"/agent-workers{P}/versions")
    place, token = f"/agent-workers/workers/{worker['worker']['id']}", worker["token"]
    await do("POST", f"{place}/heartbeat", by=token)
    claimed = (await do("POST", f"{place}/claim", example("ClaimRuns"), by=token))["run"]
    held = f"{place}/runs/{claimed['run_id']}"
    await do("POST", f"{held}/lease", example("RenewLease"), by=token)
    await do("PUT", f"{held}/session", example("PutSession"), by=token)
    await do("POST", f"/runs/{claimed['run_id']}/heartbeats", example("Heartbeat"))
    await do("POST", f"/runs/{claimed['run_id']}/wait", example("WaitRun"))
    await do("POST", f"/runs/{claimed['run_id']}/resume", example("ResumeRun"))
    await do("POST", f"/runs/{claimed['run_id']}/signals", example("SendSignal"))
    await do("GET", f"/runs/{claimed['run_id']}/signals")
    await do("GET", f"/runs/{claimed['run_id']}/budgets")
    await do("POST", f"{P}/events", example("PublishEvent"))
    await do("POST", f"/runs/{claimed['run_id']}/compensations", example("RegisterCompensation"))
    await do("GET", f"/runs/{claimed['run_id']}/compensations")
    await do("POST", f"/runs/{claimed['run_id']}/access-tokens", example("CreateAccessToken"))
    other = (await do("POST", f"{place}/claim", example("ClaimRuns"), by=token))["run"]
    await do("POST", f"{place}/runs/{other['run_id']}/release", example("ReleaseRun"), by=token)
    await do("DELETE", place)
    await do("POST", "/runs/first/complete", example("CompleteRun"))
    again = (await do("POST", "/runs/first/retry", {"title": "Second try"}))["run"]["run_id"]
    await do("POST", f"/runs/{again}/cancel", example("CancelRun"))
    await do("DELETE", f"/runs/{again}")


async def conversations(recorder):
    do = recorder.do
    talk = (await do("POST", "/conversations", example("CreateConversation")))["id"]
    place = f"/conversations/{talk}"
    agent = {**example("CreateRun", "agent"), "owner": {"kind": "conversation", "id": talk}}
    agent["request"] = {**agent["request"], "implementation_kind": "python"}
    run = (await do("POST", "/runs", agent))["run"]["run_id"]
    await do("POST", f"{place}/runs/{run}/events", example("AppendEvents"))
    for path in ("", f"/runs/{run}", f"/runs/{run}/events", f"/runs/{run}/children", f"/runs/{run}/snapshot"):
        await do("GET", place + path)
    await do("POST", f"{place}/messages", example("AddMessage"))
    await do("GET", f"{place}/messages")
    await do("POST", f"{place}/access-tokens", example("CreateConversationToken"))
    asked = {**example("CreateInputRequest"), "run_id": run}
    one = (await do("POST", f"{place}/input-requests", asked))["id"]
    await do("GET", f"{place}/input-requests")
    await do("GET", f"{place}/input-requests/{one}")
    await do("POST", f"{place}/input-requests/{one}/responses", example("RespondToInput"))
    worker = await do("POST", f"/agent-workers{P}/workers", example("RegisterWorker"))
    claim = f"/agent-workers/workers/{worker['worker']['id']}/claim"
    lease = (await do("POST", claim, {"kinds": ["agent"]}))["run"]["lease_token"]
    await do("POST", f"/runs/{run}/input-requests/{one}/secrets", x_lease_token=lease)
    two = (await do("POST", f"{place}/input-requests", {**asked, "tool_call_id": "call_3"}))["id"]
    await do("POST", f"{place}/input-requests/{two}/cancel")
    await do("PATCH", place, example("UpdateConversation"))
    await do("GET", "/conversations")
    await do("DELETE", place)


async def administration(recorder):
    do = recorder.do
    await do("POST", "/projects", {"slug": "third", "name": "Third"}, by=recorder.api.token())
    await do("GET", "/projects")
    await do("GET", P)
    key = await do("POST", f"{P}/api-keys", example("CreateKey"))
    await do("GET", f"{P}/api-keys")
    await do("PATCH", f"{P}/api-keys/{key['id']}", example("ChangeKey"))
    await do("DELETE", f"{P}/api-keys/{key['id']}")
    await do("POST", f"{P}/members", example("PutMember"))
    await do("GET", f"{P}/members")
    await do("DELETE", f"{P}/members/ada")
    await do("PUT", f"{P}/concurrency-limits", example("PutConcurrencyLimits"))
    await do("GET", f"{P}/concurrency-limits")
    await do("PUT", f"{P}/limits/task:greet", example("PutLimit"))
    await do("PUT", f"{P}/quota", example("PutQuota"), by="system")
    await do("PUT", f"{P}/quota", {}, by="system")
    await do("GET", f"{P}/quota")
    await do("PATCH", P, {"require_attempt": False}, by="admin")
    await do("PUT", f"{P}/prices", example("PutPrice"))
    for path in ("prices", "usage"):
        await do("GET", f"{P}/{path}")
    await do("DELETE", f"{P}/prices?provider=acme&model=large-2")
    await do("GET", f"{P}/audit?action=run.delete&limit=5")
    service = (await do("POST", "/agent-runtimes/push-services", example("RegisterPushService")))["service"]
    place = f"/agent-runtimes/push-services/{service['id']}"
    await do("POST", f"{place}/heartbeat")
    await do("GET", "/agent-runtimes/push-services")
    await do("GET", place)
    await do("DELETE", place)
    for path in ("/healthz", "/readyz", "/.well-known/jwks.json"):
        await do("GET", path, by=None)


async def automation(recorder):
    do = recorder.do
    made = (await do("POST", f"{P}/schedules", example("CreateSchedule")))["schedule"]
    place = f"{P}/schedules/{made['id']}"
    for path in (f"{P}/schedules", place, f"{place}/upcoming"):
        await do("GET", path)
    await do("POST", f"{place}/runs", example("RunSchedule"))
    await do("PATCH", place, example("UpdateSchedule"))
    await do("DELETE", place)
    await do("PUT", f"{P}/source-schedules", example("SyncSourceSchedules"))
    hook = (await do("POST", f"{P}/webhooks", example("CreateWebhook")))["webhook"]
    place = f"{P}/webhooks/{hook['id']}"
    tested = (await do("POST", f"{place}/test"))["delivery"]
    for path in (f"{P}/webhooks", place, f"{place}/deliveries"):
        await do("GET", path)
    await do("POST", f"{place}/deliveries/{tested['id']}/redeliver")
    await do("PATCH", place, example("UpdateWebhook"))
    await do("POST", f"{place}/rotate", example("RotateWebhook"))
    rule = (await do("POST", f"{P}/alerts", {**example("CreateAlert"), "webhook_id": hook["id"]}))["alert"]
    at_rule = f"{P}/alerts/{rule['id']}"
    await do("POST", f"{at_rule}/test")
    for path in (f"{P}/alerts", at_rule, f"{at_rule}/history"):
        await do("GET", path)
    await do("POST", f"{at_rule}/mute", example("MuteAlert"))
    await do("DELETE", f"{at_rule}/mute")
    await do("PATCH", at_rule, example("UpdateAlert"))
    await do("DELETE", at_rule)
    budget = (await do("POST", f"{P}/budgets", example("CreateBudget")))["budget"]
    at_budget = f"{P}/budgets/{budget['id']}"
    for path in (f"{P}/budgets", at_budget):
        await do("GET", path)
    await do("PATCH", at_budget, example("UpdateBudget"))
    await do("DELETE", at_budget)
    await do("DELETE", place)
    trigger = await do("POST", f"{P}/triggers", example("CreateTrigger"))
    place = f"{P}/triggers/{trigger['trigger']['id']}"
    await do("POST", f"/triggers/{trigger['token']}", {"ref": "main"}, by=None)
    await do("GET", f"{P}/triggers")
    await do("GET", place)
    await do("PATCH", place, example("UpdateTrigger"))
    await do("POST", f"{place}/rotate")
    await do("DELETE", place)
    batch = (await do("POST", f"{P}/batches", example("CreateBatch")))["batch"]
    place = f"{P}/batches/{batch['id']}"
    await do("GET", f"{P}/batches")
    await do("GET", place)
    await do("POST", f"{place}/cancel")
    await do("POST", f"{place}/retry", example("RetryBatch"))
    job = (await do("POST", f"{P}/bulk", example("CreateBulkJob")))["job"]
    await do("GET", f"{P}/bulk/{job['id']}")
    await do("POST", f"{P}/bulk/{job['id']}/cancel")


async def refusals(recorder):
    """The errors of every route before its handler, and of unknown objects."""
    for one in operations():
        if one.path == "/metrics":  # its answer counts earlier requests
            continue
        parts = [part if part[:1] != "{" else "nothing-here" for part in one.path.split("/")]
        path = "/".join(parts)
        body = b"" if one.body is Nothing else msgspec.json.encode(example(one.body.__name__))
        if not one.open:
            await recorder.send(one.method, path, body, by=None)
            await recorder.send(one.method, path, body, by="vf_none_at_all")
            await recorder.send(one.method, path, body, by="read")
        if one.media_type != "text/event-stream":
            await recorder.send(one.method, path, body)
        await recorder.send("TRACE", path)
        await recorder.send("HEAD", path)
        await recorder.send("OPTIONS", path, origin="https://app.example")
        await recorder.send(one.method, path + "/", body)
        await recorder.send(one.method, path.replace("nothing-here", "%6eothing%20here"), body)
        await recorder.send(one.method, path.replace("nothing-here", "a%2fb"), body)
        await recorder.send(one.method, path.replace("nothing-here", "n" * 300), body)
        if one.method != "GET":
            await recorder.send(one.method, path, b'{"half": ')
            await recorder.send(one.method, path, b"[]", content_type="text/plain")
            await recorder.send(one.method, path, body, idempotency_key="k" * 256)
        if one.query is not Nothing and one.media_type != "text/event-stream":
            await recorder.send(one.method, f"{path}?limit=x&attempt=x&sort=x&project=none&model=%ff", body)
    for path in ("/", "//runs", "/runs?#part", "/nowhere", "/runs/a/b/c"):
        await recorder.send("GET", path)


@pytest.mark.parametrize("scenario", [runs, conversations, administration, automation, refusals])
async def test_a_scenario_is_answered_with_the_same_bytes_on_both_paths(recorded_on_both_paths, scenario):
    asgi, plain = await recorded_on_both_paths(scenario)
    assert len(asgi.transcript) == len(plain.transcript) > 10
    for (sent, theirs), (sent_too, ours) in zip(asgi.transcript, plain.transcript, strict=True):
        assert sent == sent_too, "both servers have the same ids"
        assert ours == theirs, sent


async def test_the_scenarios_get_a_success_from_every_plain_route(recorded_on_both_paths):
    async def all_of_them(recorder):
        for scenario in (runs, conversations, administration, automation):
            await scenario(recorder)

    _, plain = await recorded_on_both_paths(all_of_them)
    statuses = {f"{one.method} {one.path}": one.status for one in operations() if one.plain}
    assert {route for route in PLAIN if statuses[route] not in plain.answered.get(route, ())} == set()


async def test_the_scenarios_get_every_kind_of_error(recorded_on_both_paths):
    asgi, _ = await recorded_on_both_paths(refusals)
    assert {200, 201, 400, 401, 403, 404, 405} <= {status_of(answer) for _, answer in asgi.transcript}
