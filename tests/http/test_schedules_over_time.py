"""Schedules over time: firing, pausing, editing, deleting, next times, and sync from a source."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from runstead.core import limits
from runstead.core.clock import iso, to_ms
from runstead.loops.scheduler import schedule as look

pytestmark = pytest.mark.postgres

PLACE = "/projects/inventory/schedules"
SOURCE = "/projects/inventory/source-schedules"
HOUR = 3_600


def body(kind="task", **members):
    target = {"kind": kind, "id": "count", **members.pop("target", {})}
    return {"name": "hourly", "target": target, "schedule": "0 * * * *"} | members


def at(api, hours):
    return iso(api.clock.now + round(hours * HOUR * 1000))


async def made(api, *args, **members):
    return (await api.post(PLACE, body(*args, **members), 201))["schedule"]


async def read(api, schedule):
    return await api.get(f"{PLACE}/{schedule['id']}")


async def patch(api, schedule, /, **members):
    response = await api.send("PATCH", f"{PLACE}/{schedule['id']}", members)
    assert response.status_code == 200, response.text
    return response.json()["schedule"]


async def upcoming(api, schedule, query=""):
    return (await api.get(f"{PLACE}/{schedule['id']}/upcoming{query}"))["data"]


async def runs(api, schedule):
    return (await api.get(f"/projects/inventory/runs?schedule_id={schedule['id']}"))["data"]


async def pass_time(api, hours):
    api.clock.advance(round(hours * HOUR))
    return await look(api.app)


async def test_a_due_schedule_creates_a_run_for_a_worker(api):
    schedule = await made(api, config={"path": "."}, concurrency_policy="Allow")
    assert schedule["next_fire_at"] == at(api, 1)
    worker, _ = await api.worker()
    waiting = asyncio.create_task(api.claim(worker, wait_seconds=20))
    await asyncio.sleep(0)
    assert await pass_time(api, 0.5) == 0
    assert await pass_time(api, 0.5) == 1
    run = (await waiting)["run"]
    [listed] = await runs(api, schedule)
    assert (listed["run_id"], listed["config"]) == (run["run_id"], {"path": "."})
    assert (listed["trigger_kind"], listed["trigger_id"]) == ("schedule", schedule["id"])
    assert (listed["scheduled_at"], listed["missed_since"]) == (schedule["next_fire_at"], None)
    after = await read(api, schedule)
    assert (after["run_count"], after["next_fire_at"]) == (1, at(api, 1))


async def test_an_outage_is_shown_and_fired_once(driver):
    schedule = await made(driver)
    assert await pass_time(driver, 5.5) == 1
    [run] = await runs(driver, schedule)
    assert (run["scheduled_at"], run["missed_since"]) == (at(driver, -0.5), schedule["next_fire_at"])
    after = await read(driver, schedule)
    assert (after["last_missed_at"], after["missed_count"]) == (schedule["next_fire_at"], 1)


async def test_a_skipped_firing_is_shown(driver):
    schedule = await made(driver)
    assert [await pass_time(driver, 1) for _ in range(2)] == [1, 1]
    [run] = await runs(driver, schedule)
    after = await read(driver, schedule)
    assert (after["skipped_count"], after["last_skipped_at"]) == (1, at(driver, 0))
    assert run["run_id"] in after["last_skipped_reason"]


async def test_a_replaced_run_names_the_reason(driver):
    schedule = await made(driver, concurrency_policy="Replace")
    for _ in range(2):
        await pass_time(driver, 1)
    new, old = await runs(driver, schedule)
    assert (old["status"], old["error"]["code"]) == ("cancelled", "REPLACED")
    assert new["run_id"] in old["error"]["message"]
    assert old["cancellation"]["reason"] == old["error"]["message"]
    assert (await driver.get(f"/runs/{old['run_id']}/events"))["data"][-1]["payload"]["code"] == "REPLACED"


async def test_an_agents_schedule_fires_into_a_conversation(api):
    schedule = await made(api, "agent", config={"prompt": "Count."})
    await pass_time(api, 1)
    [run] = await runs(api, schedule)
    projection = await api.get(f"/conversations/{run['conversation_id']}/runs/{run['run_id']}")
    assert (projection["agent_id"], projection["requested_by_user_id"]) == ("count", None)


async def test_a_one_time_schedule_completes(api):
    schedule = await made(api, schedule=None, run_at=at(api, 2))
    assert (schedule["schedule"], schedule["run_at"], schedule["next_fire_at"]) == (
        "",
        at(api, 2),
        at(api, 2),
    )
    assert await upcoming(api, schedule) == [at(api, 2)]
    await pass_time(api, 2)
    after = await read(api, schedule)
    assert (after["run_count"], after["next_fire_at"]) == (1, None)
    assert (after["status"], after["completed_at"]) == ("active", at(api, 0))
    assert await upcoming(api, schedule) == []
    path = f"{PLACE}/{schedule['id']}/runs"
    await api.refused(409, "SCHEDULE_COMPLETED", "POST", path, {"idempotency_key": "k"})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"schedule": None}, "either schedule"),
        ({"run_at": "2099-01-01T00:00:00Z"}, "either schedule"),
        ({"schedule": None, "run_at": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"schedule": None, "run_at": "tomorrow"}, "$.run_at"),
        ({"schedule": None, "run_at": "2099-01-01T00:00:00"}, "$.run_at"),
        ({"max_staleness_seconds": 0}, "$.max_staleness_seconds"),
    ],
)
async def test_impossible_times_are_refused(driver, members, message):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, body(**members))
    assert message in problem["detail"]
    assert problem["errors"]
    assert (await driver.get(PLACE))["schedules"] == []


# Looking ahead


async def test_the_next_times_are_listed(driver):
    schedule = await made(driver, schedule="30 2 * * *", timezone="Europe/Berlin")
    days = [datetime(2026, 3, 21, 1, 30, tzinfo=UTC) + timedelta(days=n) for n in range(10)]
    days[8:] = [
        datetime(2026, 3, day, hour, minute, tzinfo=UTC) for day, hour, minute in ((29, 1, 0), (30, 0, 30))
    ]
    assert await upcoming(driver, schedule) == [iso(to_ms(day)) for day in days]
    assert len(await upcoming(driver, schedule, "?count=100")) == 100
    for count in ("0", "101", "x"):
        await driver.refused(
            400, "INVALID_REQUEST", "GET", f"{PLACE}/{schedule['id']}/upcoming?count={count}"
        )


async def test_at_most_as_many_times_are_listed_as_runs_are_left(driver):
    schedule = await made(driver, max_runs=3)
    assert await upcoming(driver, schedule) == [at(driver, n) for n in (1, 2, 3)]
    await pass_time(driver, 1)
    assert len(await upcoming(driver, schedule)) == 2
    await patch(driver, schedule, status="paused")
    assert await upcoming(driver, schedule) == []


# Changing


async def test_a_paused_schedule_does_not_fire_and_a_resume_does_not_catch_up(api):
    schedule = await made(api)
    held = await patch(api, schedule, status="paused", paused_reason="Stock-taking")
    assert (held["status"], held["paused_reason"], held["paused_at"]) == (
        "paused",
        "Stock-taking",
        at(api, 0),
    )
    assert held["next_fire_at"] is None
    assert [one["id"] for one in (await api.get(f"{PLACE}?status=paused"))["schedules"]] == [schedule["id"]]
    assert await pass_time(api, 5.5) == 0
    back = await patch(api, schedule, status="active")
    assert (back["paused_reason"], back["paused_at"], back["next_fire_at"]) == (None, None, at(api, 0.5))
    await pass_time(api, 0.5)
    assert len(await runs(api, schedule)) == 1
    assert (await read(api, schedule))["missed_count"] == 0


async def test_all_members_of_a_creation_can_be_changed(api):
    schedule = await made(api)
    wanted = {"name": "other", "schedule": "*/5 * * * *", "timezone": "Europe/Berlin", "config": {"a": 1}}
    wanted |= {"timeout_seconds": 60, "backoff_limit": 0, "concurrency_policy": "Replace", "max_runs": 9}
    wanted |= {"max_staleness_seconds": 600, "target": {"kind": "workflow", "id": "other"}}
    wanted |= {"runtime_target_kind": "preview_branch", "runtime_target_branch_id": schedule["id"]}
    changed = await patch(api, schedule, **wanted)
    assert {name: changed[name] for name in wanted} == wanted
    assert changed == await read(api, schedule)
    cleared = await patch(api, schedule, max_runs=None, max_staleness_seconds=None)
    assert (cleared["max_runs"], cleared["max_staleness_seconds"]) == (None, None)
    assert (await patch(api, schedule, runtime_target_kind="main_branch"))["runtime_target_branch_id"] is None
    once = await patch(api, schedule, run_at=at(api, 3))
    assert (once["schedule"], once["next_fire_at"]) == ("", at(api, 3))
    again = await patch(api, schedule, schedule="0 * * * *")
    assert (again["run_at"], again["next_fire_at"]) == (None, at(api, 1))
    agent = await patch(api, schedule, target={"kind": "agent", "id": "scribe"})
    assert agent["target"]["conversation_mode"] == "create_new"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": None}, "$.name"),
        ({"schedule": "@daily"}, "macro"),
        ({"schedule": "0 0 * * *", "run_at": "2099-01-01T00:00:00Z"}, "either schedule"),
        ({"run_at": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"status": "deleting"}, "$.status"),
        ({"paused_reason": "why"}, "needs a pause"),
        ({"runtime_target_kind": "environment"}, "runtime_target_environment_id"),
        ({"target": {"kind": "task", "id": "a", "conversation_mode": "none"}}, "agent"),
    ],
)
async def test_a_change_that_is_not_valid_changes_nothing(driver, members, message):
    schedule = await made(driver)
    problem = await driver.refused(400, "INVALID_REQUEST", "PATCH", f"{PLACE}/{schedule['id']}", members)
    assert message in problem["detail"]
    assert await read(driver, schedule) == schedule


async def test_a_change_with_a_key_is_applied_once(api):
    schedule = await made(api)
    headers = {"Idempotency-Key": "k"}
    first = await api.send("PATCH", f"{PLACE}/{schedule['id']}", {"name": "a"}, headers=headers)
    await patch(api, schedule, name="b")
    again = await api.send("PATCH", f"{PLACE}/{schedule['id']}", {"name": "a"}, headers=headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert (await read(api, schedule))["name"] == "b"


async def test_a_deleted_schedule_is_removed_after_its_runs_and_they_stay(api):
    schedule = await made(api)
    await pass_time(api, 1)
    [run] = await runs(api, schedule)
    place = f"{PLACE}/{schedule['id']}"
    for _ in range(2):
        going = (await api.send("DELETE", place)).json()["schedule"]
        assert (going["status"], going["next_fire_at"]) == ("deleting", None)
    await api.refused(409, "SCHEDULE_DELETING", "PATCH", place, {"status": "active"})
    await api.refused(409, "SCHEDULE_DELETING", "POST", f"{place}/runs", {"idempotency_key": "k"})
    await look(api.app)
    assert (await read(api, schedule))["status"] == "deleting"
    await api.complete(run["run_id"])
    await pass_time(api, 1)
    await api.refused(404, "NOT_FOUND", "GET", place)
    await api.refused(404, "NOT_FOUND", "DELETE", place)
    assert [one["schedule_id"] for one in await runs(api, schedule)] == [schedule["id"]]


async def test_callers_of_other_projects_cannot_see_or_change_it(driver):
    schedule = await made(driver)
    place = f"{PLACE}/{schedule['id']}"
    for method, path, sent in (
        ("PATCH", place, {"name": "x"}),
        ("DELETE", place, ...),
        ("GET", f"{place}/upcoming", ...),
        ("PUT", SOURCE, {"schedules": []}),
    ):
        await driver.refused(404, "NOT_FOUND", method, path, sent, by="other")
        if method != "GET":
            await driver.refused(403, "FORBIDDEN", method, path, sent, by="read")
    for method, path in (("PATCH", f"{PLACE}/nothing"), ("DELETE", f"{PLACE}/nothing")):
        await driver.refused(404, "NOT_FOUND", method, path, {})
    foreign = (await driver.post("/conversations", {}, 201, by="other"))["id"]
    target = {"kind": "agent", "id": "a", "conversation_id": foreign}
    await driver.refused(404, "NOT_FOUND", "PATCH", place, {"target": target})


# Health


async def test_health_shows_late_and_failed_runs(api):
    schedule = await made(api, max_staleness_seconds=90 * 60, concurrency_policy="Allow")
    assert schedule["health"] is None
    await pass_time(api, 1)
    [run] = await runs(api, schedule)
    await api.complete(run["run_id"])
    assert (await read(api, schedule))["health"] == "healthy"
    await pass_time(api, 2)
    assert (await read(api, schedule))["health"] == "stale"
    assert [one["health"] for one in (await api.get(PLACE))["schedules"]] == ["stale"]
    await api.complete((await runs(api, schedule))[0]["run_id"], "failed")
    assert (await read(api, schedule))["health"] == "failed"


# A source


def source(trigger, **members):
    return body(source_trigger_id=trigger, source_path=f"schedules/{trigger}.ts", **members)


async def sync(api, *schedules):
    response = await api.send("PUT", SOURCE, {"schedules": schedules})
    assert response.status_code == 200, response.text
    return {
        kind: [one["source_trigger_id"] for one in found] for kind, found in response.json().items() if found
    }


async def test_a_source_is_synced_as_a_whole(api):
    by_hand = await made(api)
    assert await sync(api, source("a"), source("b")) == {"created": ["a", "b"]}
    assert await sync(api, source("b"), source("a")) == {"unchanged": ["b", "a"]}
    listed = await api.get(PLACE)
    assert listed["source_schedules"] == []
    assert sorted(one["definition_source"] for one in listed["schedules"]) == ["manual", "source", "source"]
    [one] = (await api.get(f"{PLACE}?source_trigger_id=b"))["schedules"]
    assert (one["source_path"], len(one["source_hash"])) == ("schedules/b.ts", 64)
    changed = await sync(api, source("b", schedule="5 * * * *"), source("c"))
    assert changed == {"created": ["c"], "updated": ["b"], "removed": ["a"]}
    await look(api.app)
    left = (await api.get(PLACE))["schedules"]
    assert {one["source_trigger_id"] for one in left} == {None, "b", "c"}
    assert (await read(api, one))["schedule"] == "5 * * * *"
    assert await read(api, by_hand) == by_hand


async def sync_app(api, app, *triggers, **members):
    schedules = [body(source_trigger_id=trigger, **members) for trigger in triggers]
    response = await api.send("PUT", SOURCE, {"app": app, "schedules": schedules})
    assert response.status_code == 200, response.text
    return {
        kind: [one["source_trigger_id"] for one in found] for kind, found in response.json().items() if found
    }


async def test_apps_and_the_source_sync_their_own_schedules_alone(api):
    by_hand = await made(api)
    assert await sync(api, source("a")) == {"created": ["a"]}
    assert await sync_app(api, "billing", "a", "b") == {"created": ["a", "b"]}
    assert await sync_app(api, "stock", "a") == {"created": ["a"]}
    assert await sync(api, source("a")) == {"unchanged": ["a"]}
    assert await sync_app(api, "billing", "b") == {"removed": ["a"], "unchanged": ["b"]}
    assert await sync_app(api, "stock") == {"removed": ["a"]}
    await look(api.app)
    left = (await api.get(PLACE))["schedules"]
    assert {(one["source_trigger_id"], one["source_path"]) for one in left} == {
        (None, None),
        ("a", "schedules/a.ts"),
        ("b", "app:billing"),
    }
    assert await read(api, by_hand) == by_hand


async def test_two_workers_of_an_app_may_sync_at_once(api):
    found = await asyncio.gather(*(sync_app(api, "billing", "a", "b") for _ in range(4)))
    assert sorted(found, key=str) == [{"created": ["a", "b"]}, *[{"unchanged": ["a", "b"]}] * 3]


async def test_a_given_hash_decides_whether_a_schedule_changed(driver):
    await sync(driver, source("a", source_hash="1"))
    assert await sync(driver, source("a", source_hash="1", name="other")) == {"unchanged": ["a"]}
    assert await sync(driver, source("a", source_hash="2", name="other")) == {"updated": ["a"]}
    assert (await driver.get(PLACE))["schedules"][0]["name"] == "other"


async def test_a_schedule_of_a_source_cannot_be_changed_by_hand(driver):
    await sync(driver, source("a"))
    [one] = (await driver.get(PLACE))["schedules"]
    place = f"{PLACE}/{one['id']}"
    problem = await driver.refused(409, "SCHEDULE_FROM_SOURCE", "PATCH", place, {"name": "x"})
    assert "paused" in problem["detail"]
    await driver.refused(409, "SCHEDULE_FROM_SOURCE", "DELETE", place)
    assert (await patch(driver, one, status="paused"))["status"] == "paused"
    assert await sync(driver, source("a", name="new")) == {"updated": ["a"]}
    assert ((await read(driver, one))["status"], (await read(driver, one))["name"]) == ("paused", "new")


async def test_a_refused_sync_changes_nothing(driver):
    await sync(driver, source("a"))
    before = await driver.get(PLACE)
    for wrong, found in (
        ([source("b"), source("c", schedule="@daily")], "schedules[1]"),
        ([source("b"), source("b")], "twice"),
        ([source("b", schedule=None, run_at="2020-01-01T00:00:00Z")], "schedules[0]"),
        ([body()], "source_trigger_id"),
    ):
        problem = await driver.refused(400, "INVALID_REQUEST", "PUT", SOURCE, {"schedules": wrong})
        assert found in problem["detail"]
        assert problem["errors"][0]["path"].startswith("$.schedules[")
    assert await driver.get(PLACE) == before


async def test_a_sync_respects_the_limit_of_schedules(driver, monkeypatch):
    monkeypatch.setattr(limits, "schedules_per_project_max", 2)
    await made(driver)
    wanted = {"schedules": [source("a"), source("b")]}
    await driver.refused(409, "SCHEDULE_LIMIT_REACHED", "PUT", SOURCE, wanted)
    assert await sync(driver, source("a")) == {"created": ["a"]}


# The loop


async def test_many_due_schedules_are_fired_in_bounded_ticks(driver, monkeypatch):
    monkeypatch.setattr(limits, "scheduler_rows_max", 4)
    monkeypatch.setattr(limits, "scheduler_rows_per_tick_max", 8)
    for _ in range(10):
        await made(driver)
    assert [await pass_time(driver, 1), await look(driver.app), await look(driver.app)] == [8, 2, 0]
    assert len((await driver.get("/projects/inventory/runs"))["data"]) == 10


async def test_a_schedule_whose_rule_fails_delays_no_other(driver, monkeypatch):
    from runstead.core.runs import transitions

    bad, good = await made(driver), await made(driver)
    rule = transitions.fire_due

    def broken(due):
        if due.schedule.id == bad["id"]:
            raise ZeroDivisionError
        return rule(due)

    monkeypatch.setattr(transitions, "fire_due", broken)
    assert await pass_time(driver, 1) == 2
    after = await read(driver, bad)
    assert (after["status"], after["last_failure_code"], after["next_fire_at"]) == (
        "paused",
        "INTERNAL",
        None,
    )
    assert (await read(driver, good))["run_count"] == 1


async def test_the_server_fires_within_a_second_or_so(live):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    sent = {"name": "once", "target": {"kind": "task", "id": "t"}, "run_at": soon.isoformat()}
    made = (await live.post("/projects/default/schedules", sent))["schedule"]
    path = f"{live.url}/projects/default/runs?schedule_id={made['id']}"
    for _ in range(1_200):
        found = (await live.client.get(path, headers=live.headers)).json()["data"]
        if found:
            break
        await asyncio.sleep(0.05)
    [run] = found
    assert run["scheduled_at"] == made["run_at"]
    late = datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(made["run_at"])
    assert timedelta(0) <= late < timedelta(seconds=30)  # 0.5 s, where the machine has nothing else to do
