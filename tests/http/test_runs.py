"""`/runs/{run_id}`: read, complete, cancel and retry runs."""

import asyncio

import pytest

pytestmark = pytest.mark.postgres

MEMBERS = [
    "run_id",
    "kind",
    "status",
    "owner",
    "parent_run_id",
    "root_run_id",
    "waiting_reason",
    "metadata",
    "target",
    "workflow_id",
    "schedule_id",
    "batch_id",
    "runtime_target_kind",
    "runtime_target_environment_id",
    "runtime_target_branch_id",
    "input",
    "config",
    "output",
    "error",
    "logs",
    "artifacts",
    "duration_ms",
    "exit_code",
    "timeout_seconds",
    "backoff_limit",
    "start_mode",
    "trigger_kind",
    "trigger_id",
    "created_by",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
]
USAGE = {
    "provider": "anthropic",
    "model": "large",
    "finishReason": "stop",
    "providerRequestId": "req_1",
    "inputTokens": 1200,
    "outputTokens": 88,
    "cachedInputTokens": 0,
    "reasoningTokens": 12,
    "usageCaptureStatus": "complete",
    "mine": {"kept": [1, 2.5, None]},
}


async def test_a_run_is_returned_unwrapped_with_all_its_members(api):
    made = await api.create()
    run = await api.run(made["run_id"])
    assert run == made
    assert len(MEMBERS) == 33
    assert list(run)[:33] == MEMBERS
    assert run["artifacts"] == []
    assert run["created_at"] == "2026-03-20T12:00:00.000Z"


async def test_members_stay_present_through_every_state(api):
    taken, _worker = await api.claimed()
    for act in ("wait", "resume", "complete"):
        body = {"wait": {"reason": "event"}, "resume": {"type": "event"}, "complete": {"status": "failed"}}[
            act
        ]
        await api.post(f"/runs/{taken['run_id']}/{act}", body)
        run = await api.run(taken["run_id"])
        assert list(run)[:33] == MEMBERS
        assert run["latest_event_id"] >= 0


@pytest.mark.parametrize("path", ["", "/children", "/tree", "/attempts", "/events", "/stream"])
async def test_an_unknown_run_is_not_found(api, path):
    problem = await api.refused(404, "NOT_FOUND", "GET", f"/runs/unknown{path}")
    assert problem["detail"] == "Run not found"


async def test_a_completion_ends_the_run_and_stores_all_its_members(api):
    run_id = (await api.create())["run_id"]
    api.clock.advance(2.5)
    artifacts = [{"name": "report.csv", "media_type": "text/csv", "size": 12, "uri": "s3://a/b", "mine": [1]}]
    brought = {
        "metadata": USAGE,
        "output": {"files": 3},
        "logs": "a\nb",
        "artifacts": artifacts,
        "exit_code": 0,
    }
    answer = await api.complete(run_id, **brought)
    assert answer["completed"] is True
    run = answer["run"]
    assert run == await api.run(run_id)
    assert {name: run[name] for name in brought} == brought
    assert (run["status"], run["error"], run["duration_ms"]) == ("completed", None, 2_500)
    assert run["completed_at"] == run["updated_at"] == "2026-03-20T12:00:02.500Z"
    assert await api.event_types(run_id) == ["RUN_FINISHED"]
    [event] = (await api.get(f"/runs/{run_id}/events"))["data"]
    assert event["payload"] == {
        "type": "RUN_FINISHED",
        "threadId": run_id,
        "runId": run_id,
        "metadata": USAGE,
    }


async def test_the_duration_counts_from_the_start_of_the_run(api):
    run_id = (await api.create())["run_id"]
    api.clock.advance(5)
    await api.append(run_id, {"type": "RUN_STARTED"})
    api.clock.advance(2)
    run = (await api.complete(run_id))["run"]
    assert (run["started_at"], run["duration_ms"]) == ("2026-03-20T12:00:05.000Z", 2_000)


async def test_the_first_completion_counts_and_later_ones_learn_whether_they_agree(api):
    run_id = (await api.create())["run_id"]
    first = (await api.complete(run_id, output=1, metadata=USAGE))["run"]
    api.clock.advance(1)
    assert await api.complete(run_id, output=2) == {"completed": True, "run": first}
    assert await api.complete(run_id, "failed") == {"completed": False, "run": first}
    assert await api.post(f"/runs/{run_id}/cancel") == {"cancelled": False, "run": first}
    assert await api.event_types(run_id) == ["RUN_FINISHED"]


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        ("completed", {}, None),
        ("cancelled", {}, None),
        ("failed", {}, {"message": "Run failed"}),
        ("failed", {"terminal_error_code": "E1"}, {"message": "E1", "code": "E1"}),
        ("failed", {"terminal_error_message": "It broke"}, {"message": "It broke"}),
        (
            "failed",
            {"terminal_error_code": "E1", "terminal_error_message": "It broke", "error_detail": {"line": 3}},
            {"message": "It broke", "code": "E1", "detail": {"line": 3}},
        ),
        ("completed", {"terminal_error_code": "E1"}, {"message": "E1", "code": "E1"}),
        ("cancelled", {"terminal_error_message": "Stopped"}, {"message": "Stopped"}),
    ],
)
async def test_the_error_has_the_message_of_the_completion(api, status, message, error):
    run_id = (await api.create())["run_id"]
    nothing = {"metadata": None, "terminal_error_code": None, "terminal_error_message": None}
    run = (await api.complete(run_id, status, **{**nothing, **message}))["run"]
    assert (run["status"], run["error"]) == (status, error)
    assert await api.event_types(run_id) == ["RUN_FINISHED" if status == "completed" else "RUN_ERROR"]


async def test_an_output_over_one_mib_fails_the_run(api):
    run_id = (await api.create())["run_id"]
    answer = await api.complete(run_id, output="x" * (1 << 20))
    assert (answer["completed"], answer["run"]["status"]) == (True, "failed")
    assert answer["run"]["error"]["code"] == "OUTPUT_TOO_LARGE"
    assert answer["run"]["output"] is None
    kept = (await api.create())["run_id"]
    assert (await api.complete(kept, output="x" * ((1 << 20) - 2)))["run"]["status"] == "completed"


BAD_COMPLETIONS = [
    {},
    {"status": "done"},
    {"status": "running"},
    {"status": None},
    {"status": "completed", "metadata": []},
    {"status": "completed", "metadata": {"inputTokens": -1}},
    {"status": "completed", "metadata": {"inputTokens": 1.5}},
    {"status": "completed", "metadata": {"model": 7}},
    {"status": "completed", "metadata": {"usageCaptureStatus": "some"}},
    {"status": "completed", "exit_code": 1.5},
    {"status": "completed", "exit_code": 1 << 31},
    {"status": "completed", "artifacts": {}},
    {"status": "completed", "artifacts": [{"uri": "no name"}]},
    {"status": "completed", "artifacts": [{"name": "a", "size": "12"}]},
    {"status": "completed", "artifacts": ["a"]},
    {"status": "completed", "artifacts": [{"name": "a"}] * 1_001},
    {"status": "completed", "logs": ["line"]},
    {"status": "completed", "attempt": 0},
    {"status": "failed", "terminal_error_code": "x" * 129},
    {"status": "failed", "terminal_error_message": 7},
]


@pytest.mark.parametrize("body", BAD_COMPLETIONS, ids=range(len(BAD_COMPLETIONS)))
async def test_a_malformed_completion_changes_nothing(driver, body):
    made = await driver.create()
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", f"/runs/{made['run_id']}/complete", body)
    [error] = problem["errors"]
    assert error["path"].startswith("$")
    assert error["message"]
    assert await driver.run(made["run_id"]) == made


async def test_cancelling_ends_the_run(api):
    run_id = (await api.create())["run_id"]
    answer = await api.post(f"/runs/{run_id}/cancel", {"reason": "changed my mind"})
    assert answer["cancelled"] is True
    run = answer["run"]
    assert (run["status"], run["error"]) == ("cancelled", {"message": "Run cancelled", "code": "CANCELLED"})
    at = "2026-03-20T12:00:00.000Z"
    assert run["cancellation"] == {"requested_at": at, "reason": "changed my mind", "stopped_at": at}
    [event] = (await api.get(f"/runs/{run_id}/events"))["data"]
    assert event["payload"] == {"type": "RUN_ERROR", "message": "Run cancelled", "code": "CANCELLED"}


async def test_a_cancellation_without_a_body_has_no_reason(api):
    run_id = (await api.create())["run_id"]
    assert (await api.post(f"/runs/{run_id}/cancel"))["run"]["cancellation"]["reason"] is None


async def test_a_cancellation_is_shown_until_the_worker_has_stopped(api):
    taken, worker = await api.claimed()
    run_id = taken["run_id"]
    api.clock.advance(1)
    cancelled = (await api.post(f"/runs/{run_id}/cancel"))["run"]
    assert cancelled["cancellation"]["stopped_at"] is None
    assert (cancelled["lease_owner"], cancelled["lease_expires_at"]) == (None, None)
    api.clock.advance(1)
    # The worker learns of the cancellation at its next renewal or append, and stops.
    assert await api.post(f"{worker}/runs/{run_id}/lease", {"lease_duration_seconds": 60}) == {"run": None}
    problem = await api.refused(
        400, "EVENT_RUN_TERMINAL", "POST", f"/runs/{run_id}/events", {"events": [{"type": "A"}]}
    )
    assert problem["detail"] == "Cannot append external events to a terminal run"
    proof = {"attempt": taken["attempt"]}
    assert await api.complete(run_id, "cancelled", **proof) == {
        "completed": True,
        "run": await api.run(run_id),
    }
    run = await api.run(run_id)
    assert run["cancellation"]["stopped_at"] == "2026-03-20T12:00:02.000Z"
    assert run["updated_at"] == "2026-03-20T12:00:01.000Z"


async def test_a_worker_that_never_stops_counts_as_stopped_when_its_lease_ends(api):
    taken, _ = await api.claimed()
    await api.post(f"/runs/{taken['run_id']}/cancel")
    await api.pass_time(61)
    assert (await api.run(taken["run_id"]))["cancellation"]["stopped_at"] == "2026-03-20T12:01:01.000Z"


async def test_a_retry_is_a_new_run_with_the_same_request(api):
    request = {
        "input": {"n": 1},
        "config": {"a": 1},
        "timeout_seconds": 9,
        "backoff_limit": 2,
        "name": "Count",
    }
    body = api.task("task:count", request=request, labels={"team": "a"})
    first = await api.create(body)
    await api.refused(409, "RUN_NOT_TERMINAL", "POST", f"/runs/{first['run_id']}/retry")
    await api.complete(first["run_id"], "failed", output=1)
    response = await api.send("POST", f"/runs/{first['run_id']}/retry")
    assert response.status_code == 202
    answer = response.json()
    second = answer["run"]
    assert answer["accepted"] is True
    assert response.headers["location"] == f"/runs/{second['run_id']}"
    assert second["run_id"] != first["run_id"]
    assert second["retry_of"] == first["run_id"]
    same = (
        "kind",
        "owner",
        "target",
        "input",
        "config",
        "timeout_seconds",
        "backoff_limit",
        "title",
        "labels",
    )
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert (second["status"], second["output"], second["error"], second["attempt"]) == (
        "pending",
        None,
        None,
        0,
    )


async def test_a_retried_agent_run_has_its_own_message(api):
    run, path = await api.agent_run()
    await api.complete(run["run_id"], "failed")
    again = (await api.post(f"/runs/{run['run_id']}/retry", status=202))["run"]
    conversation = path.rpartition("/runs/")[0]
    first, second = await api.get(path), await api.get(f"{conversation}/runs/{again['run_id']}")
    assert second["message_id"] not in {None, first["message_id"]}
    assert (await api.get(conversation))["message_count"] == 2


@pytest.mark.parametrize("act", ["complete", "cancel", "retry", "resume", "wait", "heartbeats", "events"])
async def test_a_read_key_cannot_write(api, act):
    run = await api.create()
    body = {
        "complete": {"status": "failed"},
        "resume": {"type": "event"},
        "wait": {"reason": "event"},
        "heartbeats": {"attempt": 1},
        "events": {"events": [{"type": "A"}]},
    }.get(act, {})
    if act == "retry":
        await api.complete(run["run_id"])
        run = await api.run(run["run_id"])
    problem = await api.refused(403, "FORBIDDEN", "POST", f"/runs/{run['run_id']}/{act}", body, by="read")
    assert "runs:write" in problem["detail"]
    assert await api.run(run["run_id"], by="read") == run


async def test_a_workers_key_cannot_read_runs(api):
    run = await api.create()
    await api.refused(403, "FORBIDDEN", "GET", f"/runs/{run['run_id']}", by="workers")
    await api.refused(403, "FORBIDDEN", "GET", "/runs", by="workers")
    await api.refused(403, "FORBIDDEN", "POST", "/runs", api.task(), by="workers")


async def test_one_of_many_concurrent_endings_wins_and_every_answer_agrees(api):
    run_id = (await api.create())["run_id"]
    calls = [
        api.send("POST", f"/runs/{run_id}/{act}", body)
        for _ in range(10)
        for act, body in (
            ("complete", {"status": "completed", "output": 1}),
            ("complete", {"status": "failed"}),
            ("cancel", {}),
        )
    ]
    answers = [response.json() for response in await asyncio.gather(*calls)]
    ended = await api.run(run_id)
    assert {answer["run"]["status"] for answer in answers} == {ended["status"]}
    for place, answer in enumerate(answers):
        wanted = ("completed", "failed", "cancelled")[place % 3]
        if wanted != "cancelled":
            assert answer["completed"] is (wanted == ended["status"])
    assert sum(answer.get("cancelled", False) for answer in answers) == (ended["status"] == "cancelled")
    assert len(await api.event_types(run_id)) == 1
