"""Dispatch of started agent runs to their push service, over a real connection."""

import asyncio
import hashlib

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runstead.commands import dispatch
from runstead.core import limits
from runstead.core.queue.fair_share import FairShare
from runstead.loops.dispatcher import Dispatcher
from runstead.security.signing import unpadded
from tests.support.until import eventually

from .pushed import Service


async def test_a_run_created_with_its_payload_is_dispatched_to_its_agents_service(pushing):
    service = await pushing.register(agent_id="scribe")
    run = await pushing.start()
    assert run["status"] == "pending"
    await pushing.tick()
    (request,) = pushing.service.requests
    assert (request.method, request.path) == ("POST", "/api/runs")
    body = request.body
    assert body["messages"] == [{"id": "m1", "role": "user", "parts": []}]
    conversation_id = run["owner"]["id"]
    assert body["context"] == {
        "conversationId": conversation_id,
        "projectId": pushing.api.project.id,
        "projectSlug": pushing.api.project.slug,
        "branchId": None,
    }
    shown = await pushing.api.get(f"/conversations/{conversation_id}/runs/{run['run_id']}")
    assert body["durableRootRun"] == {
        "runId": run["run_id"],
        "messageId": shown["message_id"],
        "latestEventId": 0,
        "latestExternalEventSequence": 0,
    }
    assert body["attempt"] == 1
    assert (await pushing.run(run))["status"] == "running"
    attempts = await pushing.api.get(f"/runs/{run['run_id']}/attempts")
    assert [one["lease_owner"] for one in attempts["data"]] == [service["id"]]


async def test_an_agent_run_of_a_schedule_is_dispatched(pushing):
    api = pushing.api
    await pushing.register(agent_id="scribe")
    target = {"kind": "agent", "id": "scribe"}
    body = {"name": "n", "target": target, "schedule": "0 3 * * *", "config": {"prompt": "Write"}}
    path = f"/projects/{api.project.slug}/schedules"
    schedule = (await api.post(path, body, 201))["schedule"]
    made = await api.post(f"{path}/{schedule['id']}/runs", {"idempotency_key": "k"}, 201)
    await pushing.tick()
    (request,) = pushing.service.requests
    assert request.body["durableRootRun"]["runId"] == made["run_id"]
    assert request.body["messages"][0]["parts"] == [{"type": "text", "text": "Write"}]


async def test_the_second_step_of_a_two_step_start_stores_the_payload_and_dispatches(pushing):
    api = pushing.api
    await pushing.register()
    conversation_id = await api.conversation()
    body = api.agent(conversation_id, public_id="run_two", request={"initial_status": "pending"})
    await api.create(body)
    await pushing.tick()
    assert pushing.service.requests == []
    shown = await api.get(f"/conversations/{conversation_id}/runs/run_two")
    assert (shown["status"], bool(shown["message_id"])) == ("pending", True)
    given = {
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
        "context": {"conversation_id": conversation_id, "project_id": api.project.id, "branch_id": None},
        "durable_root_run": {"run_id": "run_two", "message_id": shown["message_id"]},
        "forwarded_props": {"tone": "kind"},
    }
    second = await api.post(
        "/runs", api.agent(conversation_id, public_id="run_two", request={"input": given}), 202
    )
    assert second["duplicate"] is True
    await pushing.tick()
    (request,) = pushing.service.requests
    assert request.body["messages"] == given["messages"]
    assert request.body["forwardedProps"] == {"tone": "kind"}
    third = await api.post(
        "/runs", api.agent(conversation_id, public_id="run_two", request={"input": given}), 202
    )
    assert third["run"]["status"] == "running"
    await pushing.tick()
    assert len(pushing.service.requests) == 1


async def test_a_run_that_its_caller_executes_is_not_dispatched(pushing):
    await pushing.register()
    run = await pushing.start(request={"initial_status": "running"})
    worked = await pushing.start(request={"implementation_kind": "claude"})
    await pushing.tick()
    assert pushing.service.requests == []
    assert (await pushing.run(run))["status"] == "running"
    assert (await pushing.run(worked))["status"] == "pending"


async def test_a_run_without_a_service_behaves_as_before(pushing):
    api = pushing.api
    run = await pushing.start()
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "pending"
    body = api.agent(run["owner"]["id"], public_id=run["run_id"], request={"input": {"messages": []}})
    assert (await api.post("/runs", body, 202))["run"]["status"] == "running"


async def test_no_worker_claims_a_pushed_run(pushing):
    api = pushing.api
    await pushing.register()
    await pushing.start()
    worker, _ = await api.worker()
    for kinds in (["agent"], ["agent", "task", "workflow", "eval"]):
        assert (await api.claim(worker, kinds=kinds, targets=["agent:scribe"]))["run"] is None
        assert (await api.claim(worker, kinds=kinds))["run"] is None


async def test_the_most_specific_scope_wins(pushing):
    async with Service() as whole, Service() as everywhere, Service() as foreign:
        await pushing.register(everywhere, scope_kind="global", project_id=None, service_key="g")
        await pushing.register(foreign, service_key="f", agent_id="another")
        await pushing.start()
        await pushing.tick()
        await pushing.register(whole, service_key="p")
        await pushing.start()
        await pushing.tick()
        await pushing.register(agent_id="scribe")
        await pushing.start()
        await pushing.tick()
        counts = [len(one.requests) for one in (everywhere, whole, pushing.service, foreign)]
        assert counts == [1, 1, 1, 0]


async def test_a_global_service_reaches_only_the_projects_of_its_credential(pushing):
    api = pushing.api
    await pushing.register(scope_kind="global", project_id=None, by="other")
    run = await pushing.start()
    await pushing.tick()
    assert pushing.service.requests == []
    assert (await pushing.run(run))["status"] == "pending"
    seen = await api.get("/agent-runtimes/push-services")
    assert seen["data"] == []


# Headers and body of a call


async def test_a_call_is_signed_as_published_services_check_it(pushing):
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    (request,) = pushing.service.requests
    pem = (await pushing.api.app.keyring.public_pems())["EdDSA"].encode()
    token = request.headers["x-veryfront-control-plane-jws"]
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    options = {"verify_exp": False, "verify_iat": False}
    key = load_pem_public_key(pem)
    claims = jwt.decode(token, key, ["EdDSA"], audience=pushing.api.project.slug, options=options)
    now = pushing.api.clock() // 1000
    assert claims == {
        "iss": "veryfront-api",
        "aud": pushing.api.project.slug,
        "sub": run["run_id"],
        "project_id": pushing.api.project.id,
        "surface": "studio",
        "request_hash": unpadded(hashlib.sha256(request.raw).digest()),
        "request_method": "POST",
        "request_path": "/api/runs",
        "iat": now,
        "exp": now + limits.signature_s,
    }


async def test_the_event_token_has_exactly_the_claims_that_services_read(pushing):
    service = await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    token = pushing.service.requests[0].headers["x-veryfront-run-event-token"]
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.pop("exp") - claims.pop("iat") == limits.run_token_s
    assert claims == {
        "userId": run["created_by"],
        "serviceAccountId": service["id"],
        "actorType": "service_account",
        "tokenUse": "run_event_writer",
        "projectId": pushing.api.project.id,
        "runId": run["run_id"],
        "scopes": ["agent-runs:events:append"],
    }


async def test_the_service_executes_the_run_with_its_tokens(pushing):
    """Act as a published service: read the project and the run, append twice, complete."""
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    (request,) = pushing.service.requests
    bearer, writer = request.bearer, request.headers["x-veryfront-run-event-token"]
    path = f"/conversations/{run['owner']['id']}/runs/{run['run_id']}"
    assert (await api.get(f"/projects/{api.project.id}", by=bearer))["id"] == api.project.id
    assert (await api.get(path, by=bearer))["status"] == "running"
    event = {"type": "CUSTOM", "name": "note", "value": 1}
    done = await api.post(f"{path}/events", {"events": [event], "expected_previous_event_id": 0}, by=bearer)
    assert done["latest_event_id"] == 1
    done = await api.post(f"/runs/{run['run_id']}/events", {"events": [event]}, by=writer)
    assert done["latest_event_id"] == 2
    beat = await api.post(
        f"/runs/{run['run_id']}/heartbeats", {"attempt": request.body["attempt"]}, by=bearer
    )
    assert beat["run"]["status"] == "running"
    done = await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed"}, by=bearer)
    assert done["completed"] is True


# Failures


@pytest.mark.parametrize("status", [500, 503, 429, 408, 302, 200])
async def test_a_failed_dispatch_is_retried_after_a_backoff(pushing, status):
    await pushing.register()
    run = await pushing.start()
    pushing.service.answers = [(status, {}, {"Location": "http://127.0.0.1:1/"})]
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "pending"
    await pushing.tick()
    assert len(pushing.service.requests) == 1
    pushing.api.clock.advance(1)
    await pushing.tick()
    assert len(pushing.service.requests) == 2
    assert (await pushing.run(run))["status"] == "running"
    assert await pushing.outcomes(run) == ["dispatch_failed", "running"]


async def test_retry_after_is_waited_for(pushing):
    await pushing.register()
    await pushing.start()
    pushing.service.answers = [(429, {}, {"Retry-After": "60"})]
    await pushing.tick()
    pushing.api.clock.advance(59)
    await pushing.tick()
    assert len(pushing.service.requests) == 1
    pushing.api.clock.advance(1)
    await pushing.tick()
    assert len(pushing.service.requests) == 2


async def test_a_refused_dispatch_is_not_retried(pushing):
    service = await pushing.register()
    run = await pushing.start()
    pushing.service.answers = [(400, {"errorCode": "VALIDATION_ERROR"})]
    await pushing.tick()
    ended = await pushing.run(run)
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "DISPATCH_FAILED"
    assert "answered 400" in ended["error"]["message"]
    detail = ended["error"]["detail"]
    assert (detail["reason"], detail["attempts"], detail["lease_owner"]) == (
        "dispatch_failed",
        1,
        service["id"],
    )
    assert {"last_heartbeat_at", "last_event_id"} < detail.keys()


async def test_a_run_fails_when_no_attempts_are_left(pushing):
    await pushing.register()
    run = await pushing.start()
    pushing.service.answers = [(500, {})] * limits.dispatch_tries_max
    await pushing.tries(limits.dispatch_tries_max - 1)
    assert (await pushing.run(run))["status"] == "pending"
    await pushing.tries(1)
    ended = await pushing.run(run)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "DISPATCH_FAILED")
    assert await pushing.outcomes(run) == ["dispatch_failed"] * limits.dispatch_tries_max
    assert await pushing.api.event_types(run["run_id"]) == ["RUN_ERROR"]


async def test_a_duplicate_counts_as_accepted(pushing):
    await pushing.register()
    run = await pushing.start()
    pushing.service.answers = [(202, {"accepted": True, "duplicate": True})]
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "running"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 999999\r\n\r\n"
        + b"x" * (limits.dispatch_answer_bytes_max + 1),
        (202, {"accepted": False, "duplicate": False}),
    ],
)
async def test_a_malformed_answer_is_a_failed_attempt(pushing, answer):
    await pushing.register()
    run = await pushing.start()
    pushing.service.answers = [answer]
    await pushing.tick()
    assert await pushing.outcomes(run) == ["dispatch_failed"]
    assert (await pushing.run(run))["status"] == "pending"


async def test_a_hanging_service_costs_an_attempt(pushing, monkeypatch):
    monkeypatch.setattr(limits, "dispatch_s_max", 0.2)
    await pushing.register()
    run = await pushing.start()

    async def forever(_):
        await asyncio.Event().wait()

    pushing.service.answers = [forever]
    await pushing.tick()
    assert await pushing.outcomes(run) == ["dispatch_failed"]


async def test_an_unreachable_service_costs_an_attempt(pushing):
    await pushing.register()
    run = await pushing.start()
    pushing.service._server.close()
    await pushing.tick()
    assert await pushing.outcomes(run) == ["dispatch_failed"]


async def test_a_slow_service_delays_no_other(pushing):
    api = pushing.api
    waiting, reached, all_came = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_):
        if len(pushing.service.requests) == many:
            all_came.set()
        await waiting.wait()
        return 202, {"accepted": True}

    async def at_once(_):
        reached.set()
        return 202, {"accepted": True}

    many = limits.dispatches_per_service_max * 3
    pushing.service.answers = [slow] * many
    async with Service([at_once]) as quick, asyncio.timeout(30):
        await pushing.register(agent_id="slow")
        await pushing.register(quick, service_key="quick", agent_id="scribe")
        for _ in range(many):
            await pushing.start(request={"agent_id": "slow"})
        await pushing.start()
        loop = asyncio.ensure_future(pushing.dispatcher.run())
        await reached.wait()
        assert len(quick.requests) == 1
        assert len(pushing.service.requests) < 2 * limits.dispatches_per_service_max
        waiting.set()
        await all_came.wait()
        api.app.stop()
        await loop


async def test_a_project_whose_services_never_answer_delays_no_other_project(pushing, monkeypatch):
    """Its services would take every slot; another project's service is called at once."""
    api = pushing.api
    monkeypatch.setattr(limits, "dispatches_max", 16)
    dispatcher = Dispatcher(api.app)
    waiting, reached = asyncio.Event(), asyncio.Event()

    async def tarpit(_):
        await waiting.wait()
        return 202, {"accepted": True}

    async def at_once(_):
        reached.set()
        return 202, {"accepted": True}

    pushing.service.answers = [tarpit] * 24
    async with Service([at_once]) as quick, asyncio.timeout(30):
        for n in range(3):
            await pushing.register(service_key=f"tarpit-{n}", agent_id=f"tarpit-{n}")
            for _ in range(limits.dispatches_per_service_max):
                await pushing.start(request={"agent_id": f"tarpit-{n}"})
        loop = asyncio.ensure_future(dispatcher.run())
        await eventually(lambda: len(pushing.service.requests) >= 2)
        place = {"by": "other", "project_id": api.other.id}
        await pushing.register(quick, service_key="quick", agent_id="scribe", **place)
        conversation = await api.post("/conversations", {"project_id": api.other.id}, 201, by="other")
        body = api.agent(conversation["id"], request={"input": {"messages": []}})
        await api.create(body, by="other")
        async with asyncio.timeout(30):
            await reached.wait()
        assert len(pushing.service.requests) == 2
        waiting.set()
        api.app.stop()
        await loop


async def test_a_run_whose_dispatch_was_interrupted_is_dispatched_again(pushing):
    """The server crashed between claim and answer: the lease expires, and the service answers duplicate."""
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    (taken,) = await dispatch.take(api.app, FairShare(1))
    assert taken.run_id == run["run_id"]
    await pushing.tick()
    assert pushing.service.requests == []
    await api.pass_time(limits.dispatch_lease_ms / 1000)
    api.clock.advance(1)
    pushing.service.answers = [(202, {"accepted": True, "duplicate": True})]
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "running"
    assert await pushing.outcomes(run) == ["lease_expired", "running"]


async def test_a_service_that_completes_before_it_answers_has_completed(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()

    async def quick(request):
        await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed"}, by=request.bearer)
        return 500, {}

    pushing.service.answers = [quick]
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "completed"


async def test_a_service_that_starts_a_wait_before_it_answers_has_accepted_the_run(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()

    async def quick(request):
        body = {"reason": "tool", "tool_call_id": "call"}
        await api.post(f"/runs/{run['run_id']}/wait", body, by=request.bearer)
        return 500, {}

    pushing.service.answers = [quick]
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "waiting"
    await api.post(
        f"/runs/{run['run_id']}/resume", {"type": "tool_result", "tool_call_id": "call", "result": 1}
    )
    await pushing.tick()
    assert (await pushing.run(run))["status"] == "running"
    assert len(pushing.service.requests) == 1


async def test_a_run_that_waited_longer_than_its_lease_is_dispatched_again_after_its_resume(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    await api.post(f"/runs/{run['run_id']}/wait", {"reason": "tool", "tool_call_id": "call"})
    await api.pass_time(limits.push_silence_ms / 1000)
    assert (await pushing.run(run))["status"] == "waiting"
    await pushing.register()
    await api.post(
        f"/runs/{run['run_id']}/resume", {"type": "tool_result", "tool_call_id": "call", "result": 1}
    )
    await pushing.tick()
    assert len(pushing.service.requests) == 2
    assert pushing.service.requests[1].body["durableRootRun"]["latestEventId"] == 1


async def test_silence_ends_the_attempt_and_any_append_renews_it(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    almost = limits.push_silence_ms / 1000 - 1
    await api.pass_time(almost)
    await api.append(run["run_id"], {"type": "CUSTOM", "name": "n", "value": 1})
    await api.pass_time(almost)
    assert (await pushing.run(run))["status"] == "running"
    await api.pass_time(1)
    assert (await pushing.run(run))["status"] == "pending"
    await pushing.register()
    api.clock.advance(1)
    await pushing.tick()
    assert len(pushing.service.requests) == 2
