"""`/projects/{project}/schedules…`: create and read schedules, and start runs by hand."""

import asyncio
import uuid

import pytest

from runstead.core import limits

MEMBERS = {
    "id", "project_id", "name", "status", "target", "schedule", "timezone", "definition_source",
    "source_trigger_id", "source_path", "source_hash", "runtime_target_kind", "runtime_target_environment_id",
    "runtime_target_branch_id", "config", "timeout_seconds", "backoff_limit", "concurrency_policy", "health",
    "max_runs", "run_count", "last_scheduled_at", "last_successful_at", "last_failure_at", "last_failure_code",
    "last_failure_message", "last_failure_run_id", "paused_reason", "paused_at", "completed_at",
    "integration_requirements", "created_by", "created_at", "updated_at", "run_at", "next_fire_at",
    "max_staleness_seconds", "last_skipped_at", "last_skipped_reason", "skipped_count", "last_missed_at",
    "missed_count",
}  # fmt: skip
PLACE = "/projects/inventory/schedules"
NOWHERE = str(uuid.UUID(int=7))


def body(kind="task", **members):
    target = {"kind": kind, "id": "count", **members.pop("target", {})}
    return {"name": "nightly", "target": target, "schedule": "0 3 * * *", **members}


async def made(api, *args, **members):
    return (await api.post(PLACE, body(*args, **members), 201))["schedule"]


async def run(api, schedule, key="k", status=201, **members):
    path = f"{PLACE}/{schedule['id']}/runs"
    return await api.post(path, {"idempotency_key": key, **members}, status)


async def read(api, schedule):
    return await api.get(f"{PLACE}/{schedule['id']}")


async def test_a_schedule_is_created_with_its_members_and_defaults(api):
    schedule = await made(api)
    assert schedule.keys() == MEMBERS
    assert schedule["target"] == {"kind": "task", "id": "count"}
    assert (schedule["project_id"], schedule["status"]) == (api.project.id, "active")
    assert (schedule["timezone"], schedule["runtime_target_kind"]) == ("UTC", "main_branch")
    assert (schedule["timeout_seconds"], schedule["backoff_limit"]) == (300, 3)
    assert (schedule["config"], schedule["concurrency_policy"]) == ({}, "Forbid")
    assert (schedule["definition_source"], schedule["integration_requirements"]) == ("manual", [])
    assert (schedule["run_count"], schedule["max_runs"], schedule["health"]) == (0, None, None)
    uuid.UUID(schedule["created_by"])


async def test_all_given_members_are_stored(api):
    branch = str(uuid.uuid4())
    given = {"timezone": "Europe/Berlin", "config": {"a": [1]}, "timeout_seconds": 60, "backoff_limit": 0}
    given |= {
        "concurrency_policy": "Allow",
        "max_runs": 3,
        "name": "x" * 255,
        "schedule": "*/5 9-17 * * MON-FRI",
    }
    given |= {"runtime_target_kind": "preview_branch", "runtime_target_branch_id": branch}
    schedule = await made(api, **given)
    assert {name: schedule[name] for name in given} == given
    assert await read(api, schedule) == schedule


async def test_a_created_schedule_has_a_location(api):
    response = await api.send("POST", PLACE, body())
    assert response.json().keys() == {"schedule"}
    assert await api.get(response.headers["location"]) == response.json()["schedule"]


async def test_a_list_has_all_schedules_oldest_first_without_page_info(api):
    first, second = await made(api, name="a"), await made(api, name="b")
    answer = await api.get(PLACE)
    assert answer.keys() == {"schedules", "source_schedules"}
    assert sorted(one["id"] for one in answer["schedules"]) == sorted((first["id"], second["id"]))
    assert answer["source_schedules"] == []
    assert (await api.get(f"/projects/{api.project.id}/schedules"))["schedules"] == answer["schedules"]


async def test_a_list_is_filtered(api):
    schedule = await made(api)
    assert [one["id"] for one in (await api.get(f"{PLACE}?status=active"))["schedules"]] == [schedule["id"]]
    assert (await api.get(f"{PLACE}?status=paused"))["schedules"] == []
    assert (await api.get(f"{PLACE}?status=active&source_trigger_id=x"))["schedules"] == []
    await api.refused(400, "INVALID_REQUEST", "GET", f"{PLACE}?status=asleep")


REFUSED = [
    ({"schedule": "@daily"}, "macro"),
    ({"schedule": "0 0 3 * * *"}, "seconds"),
    ({"schedule": "0 25 * * *"}, "hour field '25'"),
    ({"schedule": "0 0 31 2 *"}, "none of its months"),
    ({"schedule": "*" * 300}, "255"),
    ({"schedule": 5}, "$.schedule"),
    ({"timezone": "Berlin"}, "IANA"),
    ({"timezone": ""}, "$.timezone"),
    ({"name": ""}, "$.name"),
    ({"name": "x" * 256}, "$.name"),
    ({"target": {"kind": "eval"}}, "$.target.kind"),
    ({"target": {"id": ""}}, "$.target.id"),
    ({"target": {"id": "x" * 247}}, "$.target.id"),
    ({"target": {"conversation_mode": "create_new"}}, "agent"),
    ({"target": {"conversation_id": NOWHERE}}, "agent"),
    ({"target": {"kind": "agent", "conversation_mode": "existing"}}, "conversation_id"),
    (
        {"target": {"kind": "agent", "conversation_mode": "none", "conversation_id": NOWHERE}},
        "conversation_id",
    ),
    ({"target": {"kind": "agent", "conversation_mode": "sometimes"}}, "conversation_mode"),
    ({"config": [1]}, "$.config"),
    ({"config": {"a": "x" * (1 << 16)}}, "64 KiB"),
    ({"timeout_seconds": 0}, "$.timeout_seconds"),
    ({"timeout_seconds": 1.5}, "$.timeout_seconds"),
    ({"backoff_limit": -1}, "$.backoff_limit"),
    ({"max_runs": 0}, "$.max_runs"),
    ({"concurrency_policy": "allow"}, "$.concurrency_policy"),
    ({"runtime_target_kind": "environment"}, "runtime_target_environment_id"),
    ({"runtime_target_branch_id": NOWHERE}, "takes no id"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=range(len(REFUSED)))
async def test_an_invalid_schedule_is_refused_and_not_stored(driver, members, message):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, body(**members))
    assert message in problem["detail"]
    assert problem["errors"]
    assert (await driver.get(PLACE))["schedules"] == []


@pytest.mark.parametrize("missing", ["name", "target", "schedule"])
async def test_a_missing_member_is_named(driver, missing):
    given = {name: value for name, value in body().items() if name != missing}
    assert missing in (await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, given))["detail"]


async def test_a_project_has_a_limit_of_schedules(driver, monkeypatch):
    monkeypatch.setattr(limits, "schedules_per_project_max", 2)
    await made(driver)
    await made(driver)
    problem = await driver.refused(409, "SCHEDULE_LIMIT_REACHED", "POST", PLACE, body())
    assert "at most 2 schedules" in problem["detail"]


async def test_a_creation_with_an_idempotency_key_is_applied_once(api):
    headers = {"Idempotency-Key": "k"}
    first = await api.post(PLACE, body(), 201, headers=headers)
    assert await api.post(PLACE, body(), 201, headers=headers) == first
    assert len((await api.get(PLACE))["schedules"]) == 1


@pytest.mark.parametrize("name", ["unknown", NOWHERE])
async def test_an_unknown_schedule_is_not_found(api, name):
    await api.refused(404, "NOT_FOUND", "GET", f"{PLACE}/{name}")
    await api.refused(404, "NOT_FOUND", "POST", f"{PLACE}/{name}/runs", {"idempotency_key": "k"})


async def test_a_schedule_of_another_project_is_not_found(api):
    schedule = await made(api)
    elsewhere = f"/projects/elsewhere/schedules/{schedule['id']}"
    await api.refused(404, "NOT_FOUND", "GET", elsewhere, by="other")
    await api.refused(404, "NOT_FOUND", "POST", f"{elsewhere}/runs", {"idempotency_key": "k"}, by="other")
    assert (await read(api, schedule))["run_count"] == 0


async def test_reading_needs_less_than_writing(api):
    schedule = await made(api)
    assert (await api.get(PLACE, by="read"))["schedules"]
    await api.get(f"{PLACE}/{schedule['id']}", by="read")
    await api.refused(403, "FORBIDDEN", "POST", PLACE, body(), by="read")
    path = f"{PLACE}/{schedule['id']}/runs"
    await api.refused(403, "FORBIDDEN", "POST", path, {"idempotency_key": "k"}, by="read")
    await api.refused(403, "FORBIDDEN", "GET", PLACE, by="workers")


# Runs by hand


async def test_a_run_by_hand_is_the_schedules_run(api):
    schedule = await made(api, config={"path": "."}, timeout_seconds=60, backoff_limit=1)
    answer = await run(api, schedule, run_name="once more")
    assert answer.keys() == {"run_id", "run_execution_id", "schedule_id"}
    assert answer["schedule_id"] == schedule["id"]
    uuid.UUID(answer["run_execution_id"])
    found = await api.run(answer["run_id"])
    assert (found["kind"], found["target"], found["status"]) == ("task", "task:count", "pending")
    assert (found["schedule_id"], found["trigger_kind"]) == (schedule["id"], "manual")
    assert (found["config"], found["timeout_seconds"], found["backoff_limit"]) == ({"path": "."}, 60, 1)
    assert found["title"] == "once more"
    listed = await api.get(f"/runs?schedule_id={schedule['id']}")
    assert [one["run_id"] for one in listed["data"]] == [answer["run_id"]]


async def test_a_run_by_hand_counts(api):
    schedule = await made(api)
    answer = await run(api, schedule)
    after = await read(api, schedule)
    assert after["run_count"] == 1
    assert after["last_scheduled_at"] == (await api.run(answer["run_id"]))["created_at"]


async def test_the_same_key_returns_the_same_run_whatever_the_other_members(api):
    schedule, other = await made(api), await made(api)
    first = await run(api, schedule)
    assert await run(api, schedule, run_name="different") == first
    assert (await run(api, schedule, "another"))["run_id"] != first["run_id"]
    assert (await run(api, other))["run_id"] != first["run_id"]
    assert (await read(api, schedule))["run_count"] == 2


async def test_twenty_concurrent_callers_get_one_run(api):
    schedule = await made(api)
    found = await asyncio.gather(*(run(api, schedule) for _ in range(20)))
    assert [one == found[0] for one in found] == [True] * 20
    assert (await read(api, schedule))["run_count"] == 1
    assert len((await api.get("/runs"))["data"]) == 1


async def test_the_same_key_returns_an_ended_run(api):
    schedule = await made(api, max_runs=1)
    first = await run(api, schedule)
    await api.complete(first["run_id"])
    assert await run(api, schedule) == first


async def test_after_max_runs_a_run_by_hand_is_refused(api):
    schedule = await made(api, max_runs=1)
    await run(api, schedule)
    assert (await read(api, schedule))["completed_at"] is not None
    path = f"{PLACE}/{schedule['id']}/runs"
    await api.refused(409, "SCHEDULE_COMPLETED", "POST", path, {"idempotency_key": "other"})


async def test_a_run_id_that_another_run_has_is_a_conflict(api):
    schedule = await made(api)
    taken = f"run_{uuid.uuid5(uuid.UUID(schedule['id']), 'k')}"
    await api.create(api.task("task:count", public_id=taken))
    path = f"{PLACE}/{schedule['id']}/runs"
    await api.refused(409, "RUN_ID_CONFLICT", "POST", path, {"idempotency_key": "k"})
    assert (await read(api, schedule))["run_count"] == 0


@pytest.mark.parametrize("given", [{}, {"idempotency_key": ""}, {"idempotency_key": "x" * 256}])
async def test_a_run_by_hand_needs_a_key(api, given):
    schedule = await made(api)
    await api.refused(400, "INVALID_REQUEST", "POST", f"{PLACE}/{schedule['id']}/runs", given)


async def test_a_worker_executes_a_run_and_the_schedule_shows_its_end(api):
    schedule = await made(api)
    worker, _ = await api.worker()
    good = await run(api, schedule, "a")
    assert (await api.claim(worker))["run"]["run_id"] == good["run_id"]
    await api.complete(good["run_id"])
    after = await read(api, schedule)
    assert after["health"] == "healthy"
    assert after["last_successful_at"] == (await api.run(good["run_id"]))["completed_at"]
    bad = await run(api, schedule, "b")
    await api.complete(bad["run_id"], "failed", terminal_error_code="E", terminal_error_message="why")
    after = await read(api, schedule)
    found = [after[f"last_failure_{name}"] for name in ("code", "message", "run_id")]
    assert (after["health"], found) == ("failed", ["E", "why", bad["run_id"]])


async def test_a_workflow_runs_by_its_id(api):
    answer = await run(api, await made(api, "workflow", target={"id": "billing/sync"}))
    found = await api.run(answer["run_id"])
    assert (found["target"], found["workflow_id"]) == ("workflow:billing/sync", "billing/sync")


@pytest.mark.parametrize("mode", [None, "create_new", "none"])
async def test_an_agent_gets_a_conversation_for_each_run(api, mode):
    schedule = await made(api, "agent", target={} if mode is None else {"conversation_mode": mode})
    shown = {"conversation_mode": mode or "create_new", "conversation_id": None}
    assert schedule["target"] == {"kind": "agent", "id": "count", **shown}
    runs = [await api.run((await run(api, schedule, key))["run_id"]) for key in "ab"]
    assert runs[0]["owner"]["id"] != runs[1]["owner"]["id"]
    place = f"/conversations/{runs[0]['owner']['id']}"
    assert (await api.get(place))["message_count"] == 1
    projection = await api.get(f"{place}/runs/{runs[0]['run_id']}")
    assert projection["agent_id"] == "count"
    uuid.UUID(projection["message_id"])


async def test_an_agents_runs_join_the_given_conversation(api):
    place = await api.conversation(project_id="inventory")
    for target in ({"conversation_mode": "existing"}, {}):
        schedule = await made(api, "agent", target={"conversation_id": place.upper(), **target})
        assert schedule["target"]["conversation_mode"] == "existing"
        answer = await run(api, schedule)
        assert (await api.run(answer["run_id"]))["conversation_id"] == place


async def test_a_conversation_of_another_project_is_not_found(api):
    foreign = (await api.post("/conversations", {}, 201, by="other"))["id"]
    for place in (foreign, NOWHERE):
        await api.refused(404, "NOT_FOUND", "POST", PLACE, body("agent", target={"conversation_id": place}))


async def test_every_member_matches_its_schema(driver):
    from jsonschema import Draft202012Validator

    answer = (await driver.send("GET", "/openapi.json", by=None)).json()
    for kind in ("task", "agent"):
        value = await made(driver, kind)
        schema = {"$ref": "#/components/schemas/ScheduleView", "components": answer["components"]}
        Draft202012Validator(schema).validate(value)
