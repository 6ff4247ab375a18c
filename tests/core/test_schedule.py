"""Schedules: their checks, the runs of firings, and the health after a run has ended."""

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import AgentDetails, Run, RunError, RunStatus
from runstead.core.runs.transition import Loaded
from runstead.core.runs.transitions import Firing, claimable, fire
from runstead.core.schedules.schedule import Schedule, check, ended, fired, next_fire

NOON = 1_774_008_000_000  # 2026-03-20T12:00Z
HOUR = 3_600_000
PROJECT = "11111111-1111-4111-8111-111111111111"
PLACE = "22222222-2222-4222-8222-222222222222"


def schedule(kind="task", **fields):
    defaults = {
        "id": "s",
        "project_id": PROJECT,
        "name": "nightly",
        "target_kind": kind,
        "target_id": "count",
    }
    defaults |= {"schedule": "0 3 * * *", "created_at": NOON, "updated_at": NOON}
    return Schedule(**(defaults | fields))


def firing(**fields):
    defaults = {
        "run_id": "run_1",
        "uid": "u",
        "message_id": "m",
        "conversation_id": "c",
        "trigger_kind": "manual",
    }
    return Firing(**(defaults | fields))


def end_of(status, **fields):
    defaults = {"uid": "u", "project_id": PROJECT, "run_id": "r", "kind": "task", "owner_kind": "project"}
    defaults |= {
        "owner_id": PROJECT,
        "root_run_id": "r",
        "created_at": 0,
        "updated_at": 0,
        "completed_at": NOON,
    }
    return Run(status=RunStatus(status), schedule_id="s", **(defaults | fields))


def code(act, *args):
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.code


def test_it_is_due_by_its_expression_in_its_zone():
    assert next_fire(schedule(), NOON) == NOON + 15 * HOUR
    assert next_fire(schedule(timezone="Europe/Berlin"), NOON) == NOON + 14 * HOUR


def test_a_valid_schedule_is_accepted():
    check(schedule(), NOON)
    check(schedule("workflow", config=b'{"a":1}'), NOON)
    check(schedule("agent", conversation_mode="none"), NOON)
    check(schedule("agent", conversation_mode="existing", conversation_id=PLACE), NOON)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"schedule": "@hourly"}, "$.schedule"),
        ({"timezone": "Nowhere"}, "$.timezone"),
        ({"conversation_mode": "create_new"}, "$.target"),
        ({"conversation_id": PLACE}, "$.target"),
        ({"target_kind": "workflow", "conversation_mode": "none"}, "$.target"),
        ({"target_kind": "agent", "conversation_mode": "existing"}, "$.target.conversation_id"),
        (
            {"target_kind": "agent", "conversation_mode": "create_new", "conversation_id": PLACE},
            "$.target.conversation_id",
        ),
        (
            {"target_kind": "agent", "conversation_mode": "none", "conversation_id": PLACE},
            "$.target.conversation_id",
        ),
        ({"config": b'"' + b"x" * limits.schedule_config_bytes_max + b'"'}, "$.config"),
    ],
)
def test_an_invalid_schedule_is_refused(fields, path):
    with pytest.raises(Error) as caught:
        check(schedule(**fields), NOON)
    assert caught.value.code == "INVALID_REQUEST"
    assert caught.value.errors == ((path, caught.value.message),)


def test_a_task_is_fired_as_a_run_that_a_worker_may_claim():
    mine = schedule(config=b'{"path":"."}', timeout_seconds=60, backoff_limit=2)
    transition = fire(Loaded(NOON, schedule=mine), firing(title="now", created_by="ada"))
    run = transition.run
    assert (run.kind, run.target, run.status) == ("task", "task:count", RunStatus.PENDING)
    assert (run.owner_kind, run.owner_id, run.project_id) == ("project", PROJECT, PROJECT)
    assert (run.schedule_id, run.trigger_kind, run.trigger_id) == ("s", "manual", "s")
    assert (run.config, run.timeout_seconds, run.backoff_limit) == (b'{"path":"."}', 60, 2)
    assert (run.title, run.created_by, run.runtime_target_kind) == ("now", "ada", "main_branch")
    assert claimable(run, NOON)
    assert transition.conversation is transition.message is None
    changed = replace(mine, run_count=1, last_scheduled_at=NOON, version=2)
    assert transition.schedule == changed


def test_a_workflow_is_fired_with_its_id():
    run = fire(Loaded(NOON, schedule=schedule("workflow", target_id="billing/sync")), firing()).run
    assert (run.kind, run.target, run.workflow_id) == ("workflow", "workflow:billing/sync", "billing/sync")
    assert run.title == "nightly"


@pytest.mark.parametrize(("mode", "kind"), [("create_new", "project_agent"), ("none", "agent_task")])
def test_an_agent_run_gets_a_new_conversation(mode, kind):
    mine = schedule("agent", target_id="scribe", conversation_mode=mode)
    transition = fire(Loaded(NOON, schedule=mine), firing(created_by="ada"))
    made, run = transition.conversation, transition.run
    assert (made.id, made.type, made.title, made.agent_id) == ("c", kind, "nightly", "scribe")
    assert (made.project_id, made.created_by, made.created_at) == (PROJECT, "ada", NOON)
    assert (run.owner_kind, run.owner_id, run.conversation_id) == ("conversation", "c", "c")
    assert (transition.message.id, transition.message.conversation_id) == ("m", "c")


def test_an_agent_run_uses_an_existing_conversation():
    mine = schedule("agent", conversation_mode="existing", conversation_id=PLACE)
    transition = fire(Loaded(NOON, schedule=mine), firing())
    assert transition.conversation is None
    assert transition.run.owner_id == transition.message.conversation_id == PLACE


def test_an_agent_run_gets_the_prompt_in_its_start_payload():
    mine = schedule("agent", target_id="scribe", config=b'{"prompt":"Write."}')
    run = fire(Loaded(NOON, schedule=mine), firing(requested_by_user_id="ada")).run
    payload = msgspec.json.decode(run.request_snapshot)
    assert [(m["role"], m["parts"]) for m in payload["messages"]] == [
        ("user", [{"type": "text", "text": "Write."}])
    ]
    assert payload["context"] == {"conversation_id": "c", "project_id": PROJECT, "branch_id": None}
    assert payload["durable_root_run"] == {"run_id": "run_1", "message_id": "m"}
    details = msgspec.json.decode(run.agent, type=AgentDetails)
    assert (details.agent_id, details.message_id, details.requested_by_user_id) == ("scribe", "m", "ada")


@pytest.mark.parametrize("config", [b"{}", b'{"prompt":""}', b'{"prompt":7}'])
def test_without_a_prompt_the_start_payload_has_no_message(config):
    run = fire(Loaded(NOON, schedule=schedule("agent", config=config)), firing()).run
    assert msgspec.json.decode(run.request_snapshot)["messages"] == []


def test_the_same_run_id_is_not_fired_twice():
    mine = schedule()
    run = fire(Loaded(NOON, schedule=mine), firing()).run
    again = fire(Loaded(NOON + 1, run, schedule=replace(mine, max_runs=1, run_count=1)), firing())
    assert again.duplicate
    assert again.run is run
    assert again.schedule is None


def test_a_run_id_of_another_run_is_a_conflict():
    foreign = replace(end_of("completed"), schedule_id=None)
    assert code(fire, Loaded(NOON, foreign, schedule=schedule()), firing()) == "RUN_ID_CONFLICT"


def test_a_missing_schedule_is_not_found():
    assert code(fire, Loaded(NOON), firing()) == "NOT_FOUND"


def test_the_last_run_completes_the_schedule_and_no_other_follows():
    once = fired(schedule(max_runs=2), NOON)
    twice = fired(once, NOON + 1)
    assert (once.completed_at, twice.completed_at) == (None, NOON + 1)
    assert twice.run_count == 2
    assert code(fired, twice, NOON + 2) == "SCHEDULE_COMPLETED"


@given(st.integers(1, 20), st.integers(0, 30))
def test_no_schedule_has_more_runs_than_its_limit(most, tries):
    mine = schedule(max_runs=most)
    for _ in range(tries):
        if mine.completed_at is not None:
            assert code(fired, mine, NOON) == "SCHEDULE_COMPLETED"
            break
        mine = fired(mine, NOON)
    assert mine.run_count == min(most, tries)
    assert (mine.completed_at is not None) == (mine.run_count == most)


def test_a_success_is_recorded():
    after = ended(schedule(), end_of("completed"))
    assert (after.last_successful_at, after.last_failure_at, after.health(NOON)) == (NOON, None, "healthy")


def test_a_failure_is_recorded_with_its_reason():
    error = msgspec.json.encode(RunError("x" * 5_000, "TIMEOUT", msgspec.Raw(b'{"a":1}')))
    after = ended(schedule(), end_of("failed", error=error))
    assert (after.last_failure_at, after.last_failure_code, after.last_failure_run_id) == (
        NOON,
        "TIMEOUT",
        "r",
    )
    assert after.last_failure_message == "x" * limits.schedule_failure_chars_max
    assert after.health(NOON) == "failed"


def test_a_cancelled_run_changes_no_health():
    mine = schedule()
    assert ended(mine, end_of("cancelled")) is mine


def test_health_is_that_of_the_last_run():
    assert schedule().health(NOON) is None
    failed = ended(schedule(), end_of("failed"))
    mended = ended(failed, end_of("completed", completed_at=NOON + 1))
    assert mended.health(NOON) == "healthy"
    assert mended.last_failure_message == "Run failed"
    assert ended(mended, end_of("failed", completed_at=NOON + 2)).health(NOON) == "failed"
