"""`/wait`, `/resume` and `/heartbeats`."""

import asyncio

import pytest

from runstead.commands import waits
from runstead.ports.notifier import DEADLINES_KEY

pytestmark = pytest.mark.postgres


async def waiting(api, **wait):
    run_id = (await api.create())["run_id"]
    await api.post(f"/runs/{run_id}/wait", {"reason": "tool", **wait})
    return f"/runs/{run_id}"


async def test_a_wait_shows_its_reason(api):
    run_id = (await api.create())["run_id"]
    wait = {"reason": "tool", "tool_call_id": "t1", "tool_name": "search"}
    answer = await api.post(f"/runs/{run_id}/wait", wait)
    assert list(answer) == ["run"]
    run = answer["run"]
    assert run == await api.run(run_id)
    assert (run["status"], run["waiting_reason"], run["waiting_tool_call_id"]) == ("waiting", "tool", "t1")
    assert await api.post(f"/runs/{run_id}/wait", wait) == {"run": run}
    await api.refused(409, "RUN_ALREADY_WAITING", "POST", f"/runs/{run_id}/wait", {"reason": "input"})


@pytest.mark.parametrize("reason", ["tool", "approval", "event", "input"])
@pytest.mark.postgres
async def test_each_reason_has_its_resume(api, reason):
    run = await waiting(api, reason=reason, tool_call_id="t1")
    types = {"tool": "tool_result", "approval": "approval", "event": "event", "input": "input"}
    for other in types.values():
        if other != types[reason]:
            body = {"type": other, "tool_call_id": "t1"}
            await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", body)
    body = {"type": types[reason], "tool_call_id": "t1", "result": {"yes": True}}
    assert await api.post(f"{run}/resume", body) == {"accepted": True}
    after = await api.get(run)
    assert (after["status"], after["waiting_reason"], after["waiting_tool_call_id"]) == (
        "running",
        None,
        None,
    )


async def test_a_tool_result_becomes_an_event(api):
    run = await waiting(api, tool_call_id="t1")
    body = {"type": "tool_result", "tool_call_id": "t1", "result": {"n": [1, 2.5]}, "is_error": True}
    await api.post(f"{run}/resume", body)
    [event] = (await api.get(f"{run}/events"))["data"]
    assert event["event_type"] == "TOOL_CALL_RESULT"
    payload = event["payload"]
    assert (payload["toolCallId"], payload["result"], payload["isError"]) == ("t1", {"n": [1, 2.5]}, True)


async def test_another_resume_becomes_a_custom_event(api):
    run = await waiting(api, reason="approval")
    await api.post(f"{run}/resume", {"type": "approval", "result": "yes"})
    [event] = (await api.get(f"{run}/events"))["data"]
    assert (event["event_type"], event["payload"]["name"]) == ("CUSTOM", "run.resumed")
    assert event["payload"]["value"]["result"] == "yes"


RESUMES = [
    ("tool", "tool_result", "TOOL_CALL_RESULT"),
    ("approval", "approval", "CUSTOM"),
    ("event", "event", "CUSTOM"),
    ("event", "timer", "CUSTOM"),
    ("input", "input", "CUSTOM"),
]


@pytest.mark.parametrize(("reason", "kind", "event_type"), RESUMES, ids=[kind for _, kind, _ in RESUMES])
@pytest.mark.postgres
async def test_every_resume_stores_one_event_and_recognizes_its_repeats(api, reason, kind, event_type):
    run = await waiting(api, reason=reason, tool_call_id="t1")
    body = {"type": kind, "tool_call_id": "t1", "result": 1}
    assert await api.post(f"{run}/resume", body) == {"accepted": True}
    assert await api.event_types(run.rpartition("/")[2]) == [event_type]
    assert await api.post(f"{run}/resume", body) == {"accepted": True, "duplicate": True}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {**body, "result": 2})
    later = {**body, "tool_call_id": "t2"}
    await api.refused(409, "TOOL_RESULT_NOT_WAITING", "POST", f"{run}/resume", later)
    await api.post(f"{run}/cancel")
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", f"{run}/resume", body)


async def test_the_servers_own_timer_stores_an_event_too(api):
    run = await waiting(api, reason="tool", tool_call_id="t1", resume_at="2026-03-20T12:00:30Z")
    await api.pass_time(30)
    [event] = (await api.get(f"{run}/events"))["data"]
    assert (event["payload"]["name"], event["payload"]["value"]["type"]) == ("run.resumed", "timer")


async def test_a_run_that_does_not_wait_is_not_resumed(api):
    run_id = (await api.create())["run_id"]
    body = {"type": "tool_result", "tool_call_id": "t1"}
    await api.refused(409, "TOOL_RESULT_NOT_WAITING", "POST", f"/runs/{run_id}/resume", body)
    assert (await api.run(run_id))["status"] == "pending"


async def test_a_repeated_result_is_a_duplicate_and_another_is_a_conflict(api):
    run = await waiting(api, tool_call_id="t1")
    body = {"type": "tool_result", "tool_call_id": "t1", "result": {"a": 1, "b": 2}}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {**body, "tool_call_id": "t2"})
    assert await api.post(f"{run}/resume", body) == {"accepted": True}
    again = {**body, "result": {"b": 2, "a": 1}}
    assert await api.post(f"{run}/resume", again) == {"accepted": True, "duplicate": True}
    for other in ({**body, "result": 3}, {**body, "is_error": True}):
        await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", other)
    assert len((await api.get(f"{run}/events"))["data"]) == 1


async def test_one_of_many_results_is_accepted_and_the_others_conflict(api):
    run = await waiting(api, tool_call_id="t1")
    bodies = [{"type": "tool_result", "tool_call_id": "t1", "result": n} for n in range(10)]
    answers = await asyncio.gather(*(api.send("POST", f"{run}/resume", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


async def test_a_run_that_has_ended_neither_waits_nor_resumes(api):
    run = await waiting(api, tool_call_id="t1")
    await api.post(f"{run}/cancel")
    body = {"type": "tool_result", "tool_call_id": "t1"}
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", f"{run}/resume", body)
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", f"{run}/wait", {"reason": "tool"})


async def test_a_waiting_run_cannot_be_claimed(api):
    run = await waiting(api)
    worker, _ = await api.worker()
    assert (await api.claim(worker))["run"] is None
    await api.post(f"{run}/resume", {"type": "tool_result", "tool_call_id": "t"})
    assert (await api.claim(worker))["run"]["run_id"] == run.rpartition("/")[2]


async def test_a_worker_keeps_its_lease_through_a_wait(api):
    taken, worker = await api.claimed()
    run = f"/runs/{taken['run_id']}"
    await api.post(f"{run}/wait", {"reason": "event", "attempt": 1})
    await api.post(f"{run}/resume", {"type": "event"})
    assert (await api.get(run))["lease_owner"] == worker.rpartition("/")[2]
    assert (await api.complete(taken["run_id"], attempt=1))["completed"] is True


async def test_a_timer_resumes_by_itself(api):
    run = await waiting(api, reason="event", resume_at="2026-03-20T14:00:30+02:00")
    await api.pass_time(29)
    assert (await api.get(run))["status"] == "waiting"
    await api.pass_time(1)
    assert (await api.get(run))["status"] == "running"


async def test_a_timer_can_be_resumed_before_its_time(api):
    run = await waiting(api, reason="event", resume_at="2026-03-20T12:00:30Z")
    assert await api.post(f"{run}/resume", {"type": "timer"}) == {"accepted": True}


async def test_an_expired_wait_fails_the_run(api):
    run = await waiting(api, expires_at="2026-03-20T12:00:30Z")
    await api.pass_time(30)
    after = await api.get(run)
    assert (after["status"], after["error"]["code"]) == ("failed", "WAIT_EXPIRED")
    found = {"reason", "attempts", "lease_owner", "last_heartbeat_at", "last_event_id"}
    assert set(after["error"]["detail"]) == found


BAD_WAITS = [
    {},
    {"reason": "boredom"},
    {"reason": "tool", "tool_call_id": ""},
    {"reason": "tool", "tool_call_id": "x" * 129},
    {"reason": "tool", "tool_call_id": "a\nb"},
    {"reason": "tool", "tool_name": "a\0b"},
    {"reason": "tool", "expires_at": "tomorrow"},
    {"reason": "tool", "expires_at": "2026-03-20T12:00:00"},
    {"reason": "tool", "expires_at": 1774008000},
    {"reason": "tool", "resume_at": "1969-12-31T23:59:59Z"},
    {"reason": "tool", "attempt": 1.5},
]
BAD_RESUMES = [
    {},
    {"type": "unknown"},
    {"type": "tool_result"},
    {"type": "tool_result", "tool_call_id": None},
    {"type": "tool_result", "tool_call_id": ""},
    {"type": "tool_result", "tool_call_id": "x" * 129},
    {"type": "tool_result", "tool_call_id": "t", "is_error": 1},
    {"type": "tool_result", "tool_call_id": "t", "is_error": None},
]
BAD_HEARTBEATS = [
    {},
    {"attempt": 0},
    {"attempt": 1.5},
    {"attempt": "1"},
    {"attempt": 10**30},
    {"attempt": 1, "lease_duration_seconds": 4},
    {"attempt": 1, "lease_duration_seconds": 301},
    {"attempt": 1, "lease_duration_seconds": 60.5},
]
BAD = [("wait", body) for body in BAD_WAITS] + [("resume", body) for body in BAD_RESUMES]
BAD += [("heartbeats", body) for body in BAD_HEARTBEATS]


@pytest.mark.parametrize(("act", "body"), BAD, ids=range(len(BAD)))
async def test_a_malformed_wait_resume_or_heartbeat_changes_nothing(driver, act, body):
    taken, _ = await driver.claimed()
    before = await driver.run(taken["run_id"])
    await driver.refused(400, "INVALID_REQUEST", "POST", f"/runs/{taken['run_id']}/{act}", body)
    assert await driver.run(taken["run_id"]) == before


async def test_a_tool_call_id_of_128_characters_is_accepted(driver):
    run = await waiting(driver, tool_call_id="x" * 128)
    await driver.post(f"{run}/resume", {"type": "tool_result", "tool_call_id": "x" * 128})


async def test_a_heartbeat_renews_the_lease_of_any_worker(api):
    taken, _ = await api.claimed()
    heartbeats = f"/runs/{taken['run_id']}/heartbeats"
    api.clock.advance(30)
    run = (await api.post(heartbeats, {"attempt": 1}))["run"]
    assert run["lease_expires_at"] == "2026-03-20T12:01:30.000Z"
    run = (await api.post(heartbeats, {"attempt": 1, "lease_duration_seconds": 300}))["run"]
    assert run["lease_expires_at"] == "2026-03-20T12:05:30.000Z"


async def test_a_heartbeat_of_another_attempt_is_superseded(api):
    idle = (await api.create())["run_id"]
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", f"/runs/{idle}/heartbeats", {"attempt": 1})
    taken, _worker = await api.claimed()
    heartbeats = f"/runs/{taken['run_id']}/heartbeats"
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 2})
    headers = {"X-Lease-Token": "forged"}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 1}, headers=headers)
    await api.post(f"/runs/{taken['run_id']}/cancel")
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 1})


# Waits for a child


async def family(api, **more):
    """Create a claimed run and an unclaimed child. Returns both and the body of a wait for the child."""
    parent, _ = await api.claimed()
    child = await api.create(api.task("task:child", parent_run_id=parent["run_id"]))
    wait = {"reason": "event", "tool_call_id": "run:child", "awaited_run_id": child["run_id"]}
    return parent, child, {**wait, "attempt": parent["attempt"], "release": True, **more}


async def test_a_run_waits_for_a_child_without_a_worker(api):
    parent, child, wait = await family(api)
    run = (await api.post(f"/runs/{parent['run_id']}/wait", wait))["run"]
    assert (run["status"], run["waiting_run_id"], run["lease_expires_at"]) == (
        "waiting",
        child["run_id"],
        None,
    )
    attempts = (await api.get(f"/runs/{parent['run_id']}/attempts"))["data"]
    assert [one["outcome"] for one in attempts] == ["parked"]
    body = {"type": "event", "tool_call_id": "run:child"}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"/runs/{parent['run_id']}/resume", body)
    await api.complete(child["run_id"])
    await api.pass_time(0)
    run = await api.run(parent["run_id"])
    assert (run["status"], run["waiting_run_id"]) == ("running", None)
    [event] = (await api.get(f"/runs/{parent['run_id']}/events"))["data"]
    assert event["payload"]["value"]["result"] == {"run_id": child["run_id"], "status": "completed"}
    worker, _ = await api.worker()
    assert (await api.claim(worker, targets=[parent["target"]]))["run"]["attempt"] == 2


async def test_the_end_of_a_child_wakes_the_server_at_once(api):
    parent, child, wait = await family(api)
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    with api.app.notifier.subscribe(DEADLINES_KEY) as hint:
        await api.append(child["run_id"], {"type": "CUSTOM", "name": "n", "value": 1})
        assert not hint.is_set()
        await api.complete(child["run_id"])
        assert hint.is_set()


async def test_a_run_does_not_wait_for_an_ended_child_and_keeps_its_lease(api):
    parent, child, wait = await family(api)
    await api.post(f"/runs/{child['run_id']}/cancel")
    run = (await api.post(f"/runs/{parent['run_id']}/wait", wait))["run"]
    assert (run["status"], run["lease_expires_at"] is None) == ("running", False)


async def test_a_child_that_ends_between_the_two_steps_resumes_its_parent(api, monkeypatch):
    parent, child, wait = await family(api)
    await_end = waits._mark_awaited

    async def marked(*args):
        found = await await_end(*args)
        await api.complete(child["run_id"])
        await api.pass_time(0)  # without effect: the parent does not wait yet
        return found

    monkeypatch.setattr(waits, "_mark_awaited", marked)
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    assert (await api.run(parent["run_id"]))["status"] == "running"


async def test_a_crash_before_the_second_step_is_recovered(api, monkeypatch):
    parent, child, wait = await family(api)
    await_end = waits._mark_awaited

    async def marked(*args):
        found = await await_end(*args)
        await api.complete(child["run_id"])
        await api.pass_time(0)
        monkeypatch.setattr(waits, "resume_parent", died)
        return found

    async def died(*_):
        raise ConnectionError

    monkeypatch.setattr(waits, "_mark_awaited", marked)
    await api.send("POST", f"/runs/{parent['run_id']}/wait", wait)
    assert (await api.run(parent["run_id"]))["status"] == "waiting"
    await api.pass_time(29)
    assert (await api.run(parent["run_id"]))["status"] == "waiting"
    await api.pass_time(1)
    assert (await api.run(parent["run_id"]))["status"] == "running"


async def test_a_repeated_wait_after_its_end_changes_nothing(api):
    parent, child, wait = await family(api)
    path, headers = f"/runs/{parent['run_id']}/wait", {"Idempotency-Key": "once"}
    first = await api.post(path, wait, headers=headers)
    await api.complete(child["run_id"])
    await api.pass_time(0)
    before = await api.run(parent["run_id"])
    assert await api.post(path, wait, headers=headers) == first
    assert await api.run(parent["run_id"]) == before
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, wait)


async def test_a_deleted_child_resumes_its_parent(api):
    parent, child, wait = await family(api)
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    await api.complete(child["run_id"])
    response = await api.send("DELETE", f"/runs/{child['run_id']}", by="admin")
    assert response.status_code == 200
    assert (await api.run(parent["run_id"]))["status"] == "running"


async def test_a_refused_deletion_of_a_child_does_not_resume_its_parent(api):
    parent, child, wait = await family(api)
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    await api.complete(child["run_id"])
    await api.refused(403, "FORBIDDEN", "DELETE", f"/runs/{child['run_id']}", by="write")
    assert (await api.run(parent["run_id"]))["status"] == "waiting"


async def test_only_a_child_can_be_awaited(api):
    parent, child, wait = await family(api)
    grandchild = await api.create(api.task("task:g", parent_run_id=child["run_id"]))
    unrelated = await api.create()
    path = f"/runs/{parent['run_id']}/wait"
    for run_id in (grandchild["run_id"], unrelated["run_id"], parent["run_id"], "unknown"):
        problem = await api.refused(400, "INVALID_REQUEST", "POST", path, {**wait, "awaited_run_id": run_id})
        assert problem["detail"].endswith(f"{run_id} is not a child of {parent['run_id']}")
        assert problem["errors"][0]["path"] == "$.awaited_run_id"
    assert (await api.run(parent["run_id"]))["status"] == "running"


async def test_marking_a_child_sends_no_notification(api):
    parent, _, wait = await family(api)
    heard = []
    api.app.notifier.listen(api.project.id, heard.append)
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    assert [hint.run_id for hints in heard for hint in hints] == [parent["run_id"]]


async def test_an_agent_run_can_be_awaited(api):
    parent, _ = await api.claimed()
    conversation_id = await api.conversation()
    child = await api.create(api.agent(conversation_id, parent_run_id=parent["run_id"]))
    wait = {"reason": "event", "tool_call_id": "x", "awaited_run_id": child["run_id"]}
    await api.post(f"/runs/{parent['run_id']}/wait", wait)
    await api.complete(child["run_id"], "failed")
    await api.pass_time(0)
    run = await api.run(parent["run_id"])
    assert (run["status"], run["lease_expires_at"] is None) == ("running", False)
