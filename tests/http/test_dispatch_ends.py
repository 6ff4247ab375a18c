"""Services that disappear, and runs that are cancelled during their execution by a service."""

import hashlib

import jwt
import pytest

from runstead.commands import dispatch
from runstead.commands.trackers import Interval
from runstead.core import limits
from runstead.loops.deadlines import enforce_deadlines
from runstead.loops.dispatcher import Dispatcher
from runstead.security.signing import unpadded

from .pushed import Service

pytestmark = pytest.mark.postgres


async def test_a_silent_service_gets_no_runs_until_its_next_heartbeat(pushing):
    api = pushing.api
    service = await pushing.register()
    path = f"/agent-runtimes/push-services/{service['id']}"
    api.clock.advance(limits.push_service_silence_s + 1)
    assert (await api.get(path))["service"]["status"] == "disabled"
    run = await pushing.start()
    await pushing.tick()
    assert pushing.service.requests == []
    assert (await pushing.run(run))["status"] == "pending"
    assert (await api.post(f"{path}/heartbeat"))["service"]["status"] == "active"
    await pushing.start()
    await pushing.tick()
    assert len(pushing.service.requests) == 1


async def test_a_service_shows_its_last_success_and_its_last_error(pushing):
    service = await pushing.register()
    path = f"/agent-runtimes/push-services/{service['id']}"
    assert service["last_success_at"] is service["last_error"] is None
    run = await pushing.start()
    pushing.service.answers = [(503, {})]
    await pushing.tick()
    shown = (await pushing.api.get(path))["service"]
    assert shown["last_error"] == "The push service answered 503"
    assert shown["last_success_at"] is None
    pushing.api.clock.advance(1)
    await pushing.tick()
    after = (await pushing.api.get(path))["service"]
    assert {after["last_success_run_id"], after["last_error_run_id"], shown["last_error_run_id"]} == {
        run["run_id"]
    }
    assert after["last_success_at"] > after["last_error_at"] == shown["last_error_at"]


async def test_the_calls_of_a_busy_service_are_recorded_once_in_an_interval(pushing):
    service, interval_s = await pushing.register(), 1_000
    pushing.api.app.recorded_calls = Interval(interval_s)
    first = await pushing.start()
    await pushing.tick()
    await pushing.start()
    await pushing.tick()
    assert len(pushing.service.requests) == 2
    shown = (await pushing.api.get(f"/agent-runtimes/push-services/{service['id']}"))["service"]
    assert shown["last_success_run_id"] == first["run_id"]


async def test_a_run_goes_to_another_service_when_its_own_is_disabled(pushing):
    api = pushing.api
    async with Service() as second:
        first = await pushing.register(agent_id="scribe")
        await pushing.register(second, service_key="second")
        run = await pushing.start()
        await api.send("DELETE", f"/agent-runtimes/push-services/{first['id']}")
        await pushing.tick()
        assert (len(pushing.service.requests), len(second.requests)) == (0, 1)
        assert (await pushing.run(run))["status"] == "running"


async def test_a_run_whose_service_is_disabled_fails_when_no_attempts_are_left(pushing):
    api = pushing.api
    service = await pushing.register()
    run = await pushing.start()
    await api.send("DELETE", f"/agent-runtimes/push-services/{service['id']}")
    for _ in range(limits.dispatch_tries_max):
        assert (await pushing.run(run))["status"] == "pending"
        await pushing.tick()
        api.clock.advance(301)
    ended = await pushing.run(run)
    assert ended["error"]["code"] == "DISPATCH_FAILED"
    assert "No active push service" in ended["error"]["message"]
    assert pushing.service.requests == []


# Cancelling


async def test_a_cancellation_is_sent_to_the_service(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start(public_id="run a%b")
    await pushing.tick()
    await api.post("/runs/run%20a%25b/cancel", {"reason": "enough"})
    shown = await api.get("/runs/run%20a%25b")
    assert shown["cancellation"]["stopped_at"] is None
    await pushing.tick()
    (request,) = pushing.service.asked("DELETE")
    assert request.path == "/api/runs/run%20a%25b"
    claims = jwt.decode(request.headers["x-veryfront-control-plane-jws"], options={"verify_signature": False})
    assert (claims["request_method"], claims["request_path"]) == ("DELETE", request.path)
    assert claims["request_hash"] == unpadded(hashlib.sha256(b"").digest())
    assert jwt.decode(request.bearer, options={"verify_signature": False})["runId"] == run["run_id"]
    assert (await api.get("/runs/run%20a%25b"))["cancellation"]["stopped_at"] is not None
    await pushing.tick()
    assert len(pushing.service.asked("DELETE")) == 1


async def test_a_run_that_was_never_dispatched_is_stopped_at_once(pushing):
    await pushing.register()
    run = await pushing.start()
    await pushing.api.post(f"/runs/{run['run_id']}/cancel")
    assert (await pushing.run(run))["cancellation"]["stopped_at"] is not None
    await pushing.tick()
    assert pushing.service.requests == []


async def test_a_failed_stop_is_retried_and_then_given_up(pushing, monkeypatch):
    monkeypatch.setattr(dispatch.asyncio, "sleep", _at_once)
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    await pushing.api.post(f"/runs/{run['run_id']}/cancel")
    pushing.service.answers = [(500, {})] * limits.stop_tries_max
    await pushing.tick()
    assert len(pushing.service.asked("DELETE")) == limits.stop_tries_max
    assert (await pushing.run(run))["cancellation"]["stopped_at"] is not None


async def _at_once(_):
    """Replaces the pause between two attempts."""


async def test_a_cancellation_survives_the_crash_of_its_server(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    await api.post(f"/runs/{run['run_id']}/cancel")
    pushing.dispatcher = Dispatcher(api.app)  # another process, which knows only the store
    await pushing.tick()
    assert len(pushing.service.asked("DELETE")) == 1


async def test_a_cancellation_during_the_dispatch_is_sent_after_it(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()

    async def cancelled_meanwhile(_):
        await api.post(f"/runs/{run['run_id']}/cancel")
        await pushing.dispatcher.tick()
        assert pushing.service.asked("DELETE") == []
        return 202, {"accepted": True}

    pushing.service.answers = [cancelled_meanwhile]
    await pushing.tick()
    await pushing.tick()
    assert [request.method for request in pushing.service.requests] == ["POST", "DELETE"]
    assert (await pushing.run(run))["cancellation"]["stopped_at"] is not None


async def test_a_cancellation_during_another_replicas_dispatch_is_sent_again_after_it(pushing):
    api = pushing.api
    await pushing.register()
    run = await pushing.start()
    leader = Dispatcher(api.app)  # it does not know the calls of the other one

    async def cancelled_meanwhile(_):
        await api.post(f"/runs/{run['run_id']}/cancel")
        await leader.tick()
        await leader.idle()
        assert (await pushing.run(run))["cancellation"]["stopped_at"] is not None
        return 202, {"accepted": True}

    pushing.service.answers = [cancelled_meanwhile, (404, {})]
    await pushing.tick()
    assert [request.method for request in pushing.service.requests] == ["POST", "DELETE", "DELETE"]
    await leader.close()


async def test_a_replica_that_does_not_lead_dispatches_and_leaves_stops_to_the_leader(pushing):
    api = pushing.api
    await pushing.register()
    api.app.leader_state.follow(1)
    run = await pushing.start()
    await pushing.tick()
    await api.post(f"/runs/{run['run_id']}/cancel")
    await pushing.tick()
    assert [request.method for request in pushing.service.requests] == ["POST"]


async def test_a_cancelled_parent_stops_the_children_at_their_services(pushing):
    api = pushing.api
    await pushing.register()
    parent = await api.create()
    child = await pushing.start(parent_run_id=parent["run_id"])
    await pushing.tick()
    await api.post(f"/runs/{parent['run_id']}/cancel")
    await pushing.tick()
    assert [one.path for one in pushing.service.asked("DELETE")] == [f"/api/runs/{child['run_id']}"]


async def test_a_retry_of_a_dispatched_run_is_dispatched(pushing):
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    await pushing.api.complete(run["run_id"], "failed")
    again = (await pushing.api.post(f"/runs/{run['run_id']}/retry", status=202))["run"]
    await pushing.tick()
    assert pushing.service.requests[-1].body["durableRootRun"]["runId"] == again["run_id"]


async def test_the_deadlines_loop_does_not_wait_for_a_service_that_never_stops(pushing):
    """If the service could not be reached, the run counts as stopped when its lease ends."""
    await pushing.register()
    run = await pushing.start()
    await pushing.tick()
    await pushing.api.post(f"/runs/{run['run_id']}/cancel")
    pushing.api.clock.advance(limits.push_silence_ms / 1000)
    await enforce_deadlines(pushing.api.app)
    assert (await pushing.run(run))["cancellation"]["stopped_at"] is not None


def test_the_stop_url_keeps_the_query_of_the_invoke_url():
    assert dispatch.stop_url("https://a.test/runs?x=1", "r/1") == "https://a.test/runs/r%2F1?x=1"
    assert dispatch.stop_url("https://a.test/runs/", "r") == "https://a.test/runs/r"
