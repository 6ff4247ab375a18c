"""`/wait`, `/resume` and `/heartbeats`: a run that needs something from outside, and one that is kept."""

import asyncio

import pytest

from runstead.commands import waits
from runstead.ports.notifier import DEADLINES_KEY

pytestmark = pytest.mark.postgres


async def waiting(api, **wait):
    run_id = (await api.create())["run_id"]
    await api.post(f"/runs/{run_id}/wait", {"reason": "tool", **wait})
    return f"/runs/{run_id}"


async def test_a_wait_says_what_for(api):
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
async def test_every_resume_stores_one_event_and_is_told_apart_from_its_repeats(
    api, reason, kind, event_type
):
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


async def test_the_same_result_again_is_a_duplicate_and_another_a_conflict(api):
    run = await waiting(api, tool_call_id="t1")
    body = {"type": "tool_result", "tool_call_id": "t1", "result": {"a": 1, "b": 2}}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {**body, "tool_call_id": "t2"})
    assert await api.post(f"{run}/resume", body) == {"accepted": True}
    again = {**body, "result": {"b": 2, "a": 1}}
    assert await api.post(f"{run}/resume", again) == {"accepted": True, "duplicate": True}
    for other in ({**body, "result": 3}, {**body, "is_error": True}):
        await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", other)
    assert len((await api.get(f"{run}/events"))["data"]) == 1


async def test_of_many_results_one_is_accepted_and_the_others_conflict(api):
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


async def test_a_waiting_run_is_claimed_by_nobody(api):
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


async def test_a_wait_that_nobody_answers_in_time_fails_the_run(api):
    run = await waiting(api, expires_at="2026-03-20T12:00:30Z")
    await api.pass_time(30)
    after = await api.get(run)
    assert (after["status"], after["error"]["code"]) == ("failed", "WAIT_EXPIRED")
    told = {"reason", "attempts", "lease_owner", "last_heartbeat_at", "last_event_id"}
    assert set(after["error"]["detail"]) == told


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
async def test_what_is_no_wait_resume_or_heartbeat_changes_nothing(driver, act, body):
    taken, _ = await driver.claimed()
    before = await driver.run(taken["run_id"])
    await driver.refused(400, "INVALID_REQUEST", "POST", f"/runs/{taken['run_id']}/{act}", body)
    assert await driver.run(taken["run_id"]) == before


async def test_a_tool_call_id_of_128_characters_is_fine(driver):
    run = await waiting(driver, tool_call_id="x" * 128)
    await driver.post(f"{run}/resume", {"type": "tool_result", "tool_call_id": "x" * 128})


async def test_a_heartbeat_renews_the_lease_without_naming_the_worker(api):
    taken, _ = await api.claimed()
    heartbeats = f"/runs/{taken['run_id']}/heartbeats"
    api.clock.advance(30)
    run = (await api.post(heartbeats, {"attempt": 1}))["run"]
    assert run["lease_expires_at"] == "2026-03-20T12:01:30.000Z"
    run = (await api.post(heartbeats, {"attempt": 1, "lease_duration_seconds": 300}))["run"]
    assert run["lease_expires_at"] == "2026-03-20T12:05:30.000Z"


async def test_a_heartbeat_of_no_current_attempt_is_superseded(api):
    idle = (await api.create())["run_id"]
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", f"/runs/{idle}/heartbeats", {"attempt": 1})
    taken, _worker = await api.claimed()
    heartbeats = f"/runs/{taken['run_id']}/heartbeats"
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 2})
    headers = {"X-Lease-Token": "forged"}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 1}, headers=headers)
    await api.post(f"/runs/{taken['run_id']}/cancel")
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", heartbeats, {"attempt": 1})


# For a run below


async def family(api, **more):
    """A claimed run, one below it that nobody has claimed, and the body of a wait for that."""
    above, _ = await api.claimed()
    below = await api.create(api.task("task:below", parent_run_id=above["run_id"]))
    wait = {"reason": "event", "tool_call_id": "run:below", "awaited_run_id": below["run_id"]}
    return above, below, {**wait, "attempt": above["attempt"], "release": True, **more}


async def test_a_run_waits_for_one_below_it_and_no_worker_does(api):
    above, below, wait = await family(api)
    run = (await api.post(f"/runs/{above['run_id']}/wait", wait))["run"]
    assert (run["status"], run["waiting_run_id"], run["lease_expires_at"]) == (
        "waiting",
        below["run_id"],
        None,
    )
    attempts = (await api.get(f"/runs/{above['run_id']}/attempts"))["data"]
    assert [one["outcome"] for one in attempts] == ["parked"]
    body = {"type": "event", "tool_call_id": "run:below"}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"/runs/{above['run_id']}/resume", body)
    await api.complete(below["run_id"])
    await api.pass_time(0)
    run = await api.run(above["run_id"])
    assert (run["status"], run["waiting_run_id"]) == ("running", None)
    [event] = (await api.get(f"/runs/{above['run_id']}/events"))["data"]
    assert event["payload"]["value"]["result"] == {"run_id": below["run_id"], "status": "completed"}
    worker, _ = await api.worker()
    assert (await api.claim(worker, targets=[above["target"]]))["run"]["attempt"] == 2


async def test_the_end_of_a_run_below_wakes_the_server_at_once(api):
    above, below, wait = await family(api)
    await api.post(f"/runs/{above['run_id']}/wait", wait)
    with api.app.notifier.subscribe(DEADLINES_KEY) as hint:
        await api.append(below["run_id"], {"type": "CUSTOM", "name": "n", "value": 1})
        assert not hint.is_set()
        await api.complete(below["run_id"])
        assert hint.is_set()


async def test_a_run_does_not_wait_for_one_that_has_ended_and_keeps_its_worker(api):
    above, below, wait = await family(api)
    await api.post(f"/runs/{below['run_id']}/cancel")
    run = (await api.post(f"/runs/{above['run_id']}/wait", wait))["run"]
    assert (run["status"], run["lease_expires_at"] is None) == ("running", False)


async def test_one_that_ends_between_the_two_steps_is_told_of(api, monkeypatch):
    above, below, wait = await family(api)
    await_end = waits._await_end

    async def marked(*args):
        found = await await_end(*args)
        await api.complete(below["run_id"])
        await api.pass_time(0)  # in vain: the one above does not wait yet
        return found

    monkeypatch.setattr(waits, "_await_end", marked)
    await api.post(f"/runs/{above['run_id']}/wait", wait)
    assert (await api.run(above["run_id"]))["status"] == "running"


async def test_a_server_that_dies_before_its_second_look_makes_up_for_it(api, monkeypatch):
    above, below, wait = await family(api)
    await_end = waits._await_end

    async def marked(*args):
        found = await await_end(*args)
        await api.complete(below["run_id"])
        await api.pass_time(0)
        monkeypatch.setattr(waits, "resume_parent", died)
        return found

    async def died(*_):
        raise ConnectionError

    monkeypatch.setattr(waits, "_await_end", marked)
    await api.send("POST", f"/runs/{above['run_id']}/wait", wait)
    assert (await api.run(above["run_id"]))["status"] == "waiting"
    await api.pass_time(29)
    assert (await api.run(above["run_id"]))["status"] == "waiting"
    await api.pass_time(1)
    assert (await api.run(above["run_id"]))["status"] == "running"


async def test_a_wait_sent_again_after_its_end_answers_as_before_and_does_nothing(api):
    above, below, wait = await family(api)
    path, headers = f"/runs/{above['run_id']}/wait", {"Idempotency-Key": "once"}
    first = await api.post(path, wait, headers=headers)
    await api.complete(below["run_id"])
    await api.pass_time(0)
    before = await api.run(above["run_id"])
    assert await api.post(path, wait, headers=headers) == first
    assert await api.run(above["run_id"]) == before
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, wait)


async def test_a_run_that_is_deleted_lets_the_one_that_waits_for_it_go_on(api):
    above, below, wait = await family(api)
    await api.post(f"/runs/{above['run_id']}/wait", wait)
    await api.complete(below["run_id"])
    response = await api.send("DELETE", f"/runs/{below['run_id']}", by="admin")
    assert response.status_code == 200
    assert (await api.run(above["run_id"]))["status"] == "running"


async def test_only_a_run_right_below_is_waited_for(api):
    above, below, wait = await family(api)
    grandchild = await api.create(api.task("task:g", parent_run_id=below["run_id"]))
    stranger = await api.create()
    path = f"/runs/{above['run_id']}/wait"
    for run_id in (grandchild["run_id"], stranger["run_id"], above["run_id"], "nobody"):
        told = await api.refused(400, "INVALID_REQUEST", "POST", path, {**wait, "awaited_run_id": run_id})
        assert told["detail"].endswith(f"no run {run_id} is right below {above['run_id']}")
        assert told["errors"][0]["path"] == "$.awaited_run_id"
    assert (await api.run(above["run_id"]))["status"] == "running"


async def test_a_mark_is_no_news_of_the_project(api):
    above, _, wait = await family(api)
    heard = []
    api.app.notifier.listen(api.project.id, heard.append)
    await api.post(f"/runs/{above['run_id']}/wait", wait)
    assert [hint.run_id for hints in heard for hint in hints] == [above["run_id"]]


async def test_an_agent_run_is_waited_for_like_any_other(api):
    above, _ = await api.claimed()
    conversation_id = await api.conversation()
    below = await api.create(api.agent(conversation_id, parent_run_id=above["run_id"]))
    wait = {"reason": "event", "tool_call_id": "x", "awaited_run_id": below["run_id"]}
    await api.post(f"/runs/{above['run_id']}/wait", wait)
    await api.complete(below["run_id"], "failed")
    await api.pass_time(0)
    run = await api.run(above["run_id"])
    assert (run["status"], run["lease_expires_at"] is None) == ("running", False)
