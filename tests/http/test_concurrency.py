"""Priority, delay, concurrency limits and fairness between projects, over HTTP."""

import asyncio

import pytest

from runstead.core import limits
from runstead.core.clock import iso
from runstead.loops.dispatcher import Dispatcher

pytestmark = pytest.mark.postgres

PLACE = "/projects/inventory/concurrency-limits"
PAYLOAD = {"input": {"messages": []}}


async def put(api, *found, status=200, by="admin"):
    given = [{"target": target, "max_running": most} for target, most in found]
    response = await api.send("PUT", PLACE, {"limits": given}, by=by)
    assert response.status_code == status, response.text
    return response.json()


async def ids(api, worker, **body):
    return [run["run_id"] for run in (await api.claim(worker, max_runs=9, **body))["runs"]]


# Priority and delay


async def test_a_run_shows_its_priority_which_is_0_by_default(api):
    assert (await api.create())["priority"] == 0
    run = await api.create(api.task(priority=-100))
    assert run["priority"] == (await api.run(run["run_id"]))["priority"] == -100


async def test_the_highest_priority_is_claimed_first_and_a_retry_keeps_it(api):
    worker, _ = await api.worker()
    for name, priority in [("a", 0), ("b", 100), ("c", -1)]:
        await api.create(api.task(public_id=name, priority=priority))
    assert await ids(api, worker) == ["b", "a", "c"]
    await api.complete("b", "failed")
    assert (await api.post("/runs/b/retry", {}, 202))["run"]["priority"] == 100


async def test_a_child_does_not_inherit_its_parents_priority(api):
    await api.create(api.task(public_id="root", priority=50))
    assert (await api.create(api.task(parent_run_id="root")))["priority"] == 0


@pytest.mark.parametrize("value", [-101, 101, 1.5, "1", None])
async def test_a_priority_is_a_whole_number_from_minus_100_to_100(driver, value):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", driver.task(priority=value))
    assert problem["errors"][0]["path"] == "$.priority"
    assert await driver.nothing_stored()


async def test_a_delayed_run_is_claimed_when_it_is_due(api):
    worker, _ = await api.worker()
    run = await api.create(api.task(available_at="2026-03-20T13:00:10+01:00"))
    assert (run["status"], run["available_at"]) == ("pending", "2026-03-20T12:00:10.000Z")
    api.clock.advance(9.999)
    assert await ids(api, worker) == []
    api.clock.advance(0.001)
    assert await ids(api, worker) == [run["run_id"]]


async def test_a_time_in_the_past_means_now(api):
    run = await api.create(api.task(available_at="2020-01-01T00:00:00Z"))
    assert run["available_at"] == "2026-03-20T12:00:00.000Z"


@pytest.mark.parametrize("value", ["tomorrow", "2026-03-20T12:00:00", "1969-01-01T00:00:00Z", 5])
async def test_a_delay_is_a_time_with_a_time_zone(driver, value):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", driver.task(available_at=value))
    assert problem["errors"][0]["path"] == "$.available_at"


async def test_a_repeat_with_the_same_id_returns_the_delayed_run(api):
    body = api.task(public_id="once", available_at="2026-03-20T12:01:00Z", priority=3)
    await api.create(body)
    again = await api.post("/runs", api.task(public_id="once", priority=9), 202)
    assert (again["duplicate"], again["run"]["priority"]) == (True, 3)
    assert again["run"]["available_at"] == "2026-03-20T12:01:00.000Z"


async def test_a_run_that_its_caller_executes_cannot_be_delayed(api):
    conversation_id = await api.conversation()
    body = api.agent(conversation_id, available_at="2026-03-20T12:01:00Z", public_id="run-1")
    problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert problem["errors"] == [{"path": "$.available_at", "message": "the caller drives this run"}]
    await api.refused(404, "NOT_FOUND", "GET", "/runs/run-1")


async def test_the_second_step_of_a_start_can_delay_the_dispatch(pushing):
    api = pushing.api
    await pushing.register()
    conversation_id = await api.conversation(project_id=api.project.id)
    await api.create(api.agent(conversation_id, public_id="two-steps"))
    body = api.agent(conversation_id, public_id="two-steps", request=PAYLOAD)
    run = await api.create({**body, "available_at": "2026-03-20T12:00:30Z"})
    assert (run["status"], run["available_at"]) == ("pending", "2026-03-20T12:00:30.000Z")
    await pushing.tick()
    assert pushing.service.requests == []
    api.clock.advance(30)
    await pushing.tick()
    assert len(pushing.service.requests) == 1


# Limits


async def test_limits_are_set_and_read_with_running_counts(api):
    assert await api.get(PLACE) == {"limits": []}
    await api.claimed()
    found = await put(api, ("task:count", 3), (None, 10))
    assert found["limits"] == [
        {"target": None, "max_running": 10, "running": 1},
        {"target": "task:count", "max_running": 3, "running": 0},
    ]
    assert await api.get(PLACE, by="read") == found
    assert await put(api) == {"limits": []}


async def test_claims_respect_limits(api):
    worker, _ = await api.worker()
    await put(api, ("task:count", 1))
    for name, target in [("a", "task:count"), ("b", "task:count"), ("c", "task:other")]:
        await api.create(api.task(target, public_id=name))
    assert await ids(api, worker) == ["a", "c"]
    assert await ids(api, worker, targets=["task:count"]) == []
    await api.complete("a")
    assert await ids(api, worker) == ["b"]


async def test_only_admins_set_limits_and_only_readers_of_runs_see_them(driver):
    await driver.refused(403, "FORBIDDEN", "PUT", PLACE, {"limits": []})
    await driver.refused(404, "NOT_FOUND", "PUT", PLACE, {"limits": []}, by="other")
    await driver.refused(404, "NOT_FOUND", "GET", PLACE, by="other")
    await driver.refused(401, "UNAUTHENTICATED", "GET", PLACE, by=None)


@pytest.mark.parametrize(
    ("found", "path"),
    [
        ([{"max_running": -1}], "$.limits[0].max_running"),
        ([{"max_running": limits.running_max + 1}], "$.limits[0].max_running"),
        ([{"target": "task:a"}], "$.limits[0]"),
        ([{"target": "", "max_running": 1}], "$.limits[0].target"),
        ([{"max_running": 1}, {"target": None, "max_running": 2}], "$.limits[1].target"),
        ([{"target": "task:a", "max_running": 1}] * 2, "$.limits[1].target"),
        ([{"target": f"task:{n}", "max_running": 1} for n in range(101)], "$.limits"),
    ],
)
async def test_invalid_limits_are_refused_as_a_whole(driver, found, path):
    await put(driver, (None, 7))
    problem = await driver.refused(400, "INVALID_REQUEST", "PUT", PLACE, {"limits": found}, by="admin")
    assert problem["errors"][0]["path"] == path
    assert [one["max_running"] for one in (await driver.get(PLACE))["limits"]] == [7]


async def poll(api, worker):
    """Start a long poll, and wait until its first claim found nothing."""
    polling = asyncio.ensure_future(api.claim(worker, wait_seconds=20))
    async with asyncio.timeout(30):
        while not any(  # noqa: ASYNC110 - of what is waited for, nothing tells
            key.startswith("slots:") for key in api.app.notifier._subscribers
        ):
            await asyncio.sleep(0.001)
    return polling


async def test_the_end_of_a_run_wakes_a_worker_that_waits_for_a_limit(driver, monkeypatch):
    monkeypatch.setattr(limits, "claim_poll_s", 20)
    worker, _ = await driver.worker()
    await put(driver, (None, 1))
    for name in ("a", "b"):
        await driver.create(driver.task(public_id=name))
    assert (await driver.claim(worker))["run"]["run_id"] == "a"
    polling = await poll(driver, worker)
    await driver.complete("a")
    async with asyncio.timeout(30):
        assert (await polling)["run"]["run_id"] == "b"


async def test_a_higher_limit_wakes_a_worker_too(driver, monkeypatch):
    monkeypatch.setattr(limits, "claim_poll_s", 20)
    worker, _ = await driver.worker()
    await put(driver, (None, 0))
    await driver.create(driver.task(public_id="a"))
    polling = await poll(driver, worker)
    await put(driver, (None, 1))
    async with asyncio.timeout(30):
        assert (await polling)["run"]["run_id"] == "a"


async def test_a_worker_that_waits_for_a_rate_gets_the_run_with_the_next_token(driver, monkeypatch):
    monkeypatch.setattr(limits, "claim_poll_s", 20)
    worker, _ = await driver.worker()
    limit = {"limits": [{"target": "task:greet", "rate": {"limit": 1, "period_seconds": 5}}]}
    await driver.send("PUT", f"/projects/{driver.project.slug}/concurrency-limits", limit, by="admin")
    for name in ("a", "b"):
        await driver.create(driver.task(public_id=name, request={"target": "task:greet"}))
    assert (await driver.claim(worker))["run"]["run_id"] == "a"
    driver.clock.advance_ms(4_800)
    polling = await poll(driver, worker)
    driver.clock.advance_ms(200)
    async with asyncio.timeout(15):
        assert (await polling)["run"]["run_id"] == "b"


async def test_a_worker_that_waits_for_tokens_gets_the_run_when_they_are_back(driver, monkeypatch):
    monkeypatch.setattr(limits, "claim_poll_s", 600)
    worker, _ = await driver.worker()
    rate = {"limit": 100, "period_seconds": 10, "unit": "tokens"}
    body = {"limits": [{"target": "task:greet", "rate": rate}]}
    place = f"/projects/{driver.project.slug}/concurrency-limits"
    await driver.send("PUT", place, body, by="admin")
    for name in ("a", "b"):
        await driver.create(driver.task(public_id=name, request={"target": "task:greet"}))
    assert (await driver.claim(worker))["run"]["run_id"] == "a"
    usage = {"provider": "acme", "model": "m", "inputTokens": 100, "outputTokens": 50}
    await driver.post("/runs/a/complete", {"status": "completed", "metadata": usage})
    shown = (await driver.send("GET", place, by="admin")).json()["limits"]
    assert [(one["rate"]["unit"], one["rate_left"]) for one in shown] == [("tokens", -50)]
    polling = await poll(driver, worker)
    driver.clock.advance_ms(5_100)
    async with asyncio.timeout(60):
        assert (await polling)["run"]["run_id"] == "b"


# Fairness


async def register_other(pushing):
    """Register the same service for another project."""
    body = {"service_name": "other", "service_key": "other-1", "scope_kind": "project"}
    body |= {"base_url": pushing.service.url, "invoke_url": f"{pushing.service.url}/other"}
    body["project_id"] = pushing.api.other.id
    await pushing.api.post("/agent-runtimes/push-services", body, 201, by="other")


async def start_other(pushing):
    api = pushing.api
    conversation = await api.post("/conversations", {"project_id": api.other.id}, 201, by="other")
    return await api.create(api.agent(conversation["id"], request=PAYLOAD), by="other")


async def test_dispatch_is_fair_to_a_project_beside_one_with_many_runs(pushing, monkeypatch):
    monkeypatch.setattr(limits, "dispatches_max", 2)
    pushing.dispatcher = Dispatcher(pushing.api.app)
    await pushing.register()
    await register_other(pushing)
    for _ in range(6):
        await pushing.start(priority=100)
    pushing.api.clock.advance(1)
    await start_other(pushing)
    await pushing.tick()
    assert sorted(request.path for request in pushing.service.requests) == ["/api/runs", "/other"]


async def test_notifications_of_dispatched_runs_go_to_their_own_project(pushing):
    api, heard = pushing.api, {}
    for project in (api.project, api.other):
        listener = heard.setdefault(project.id, []).extend
        api.app.notifier.listen(project.id, listener)
    await pushing.register()
    await register_other(pushing)
    mine = await pushing.start()
    theirs = await start_other(pushing)
    await pushing.tick()
    names = {
        project_id: {hint.run_id for hint in hints if hint.run_id} for project_id, hints in heard.items()
    }
    assert names == {api.project.id: {mine["run_id"]}, api.other.id: {theirs["run_id"]}}


async def test_a_long_delay_is_stored_to_the_millisecond(driver):
    run = await driver.create(driver.task(available_at="9999-12-31T23:59:59.999Z"))
    assert run["available_at"] == iso(limits.timestamp_ms_max) == "9999-12-31T23:59:59.999Z"
