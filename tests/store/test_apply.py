"""apply: load, decide, write all of it or nothing."""

import asyncio

import pytest
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs.event import NewEvent
from runstead.core.runs.run import FIELDS, RunStatus
from runstead.core.runs.transition import Receipt, Transition, Want
from runstead.core.runs.transitions import rewrite

# One value for every column that a create may bring, to be given back untouched.
EVERYTHING = {
    "scheduled_at": 21,
    "missed_since": 20,
    "kind": "agent",
    "owner_kind": "conversation",
    "target": "agent:écrit",
    "retry_of": "run-0",
    "workflow_id": "w",
    "schedule_id": "s",
    "batch_id": "b",
    "runtime_target_kind": "preview_branch",
    "runtime_target_environment_id": "e",
    "runtime_target_branch_id": "br",
    "start_mode": "now",
    "trigger_kind": "webhook",
    "trigger_id": "t",
    "created_by": "u",
    "trace_context": "00-1-2-01 vendor=1",
    "title": "A title with ' and \" and \n",
    "conversation_id": "c",
    "implementation_kind": "i",
    "worker_key": "k",
    "duration_ms": 0,
    "timeout_seconds": 7,
    "backoff_limit": 0,
    "exit_code": -9,
    "attempt": 1,
    "attempts_lost": 1,
    "priority": -7,
    "attempt_started_at": 5,
    "lease_owner": "o",
    "lease_token": "lt",
    "lease_ms": 6,
    "lease_expires_at": 2**53 - 1,
    "last_heartbeat_at": 8,
    "waiting_reason": "event",
    "waiting_tool_call_id": "wc",
    "waiting_tool_name": "wn",
    "waiting_run_id": "wr",
    "awaited_at": 23,
    "wait_expires_at": 9,
    "waiting_input_id": "i-1",
    "resume_at": 10,
    "cancel_requested_at": 11,
    "cancel_reason": "cr",
    "cancel_stopped_at": 12,
    "compensations": 3,
    "completed_at": 13,
    "due_at": 14,
    "paused_available_at": 15,
    "concurrency_key": "customer-7",
    "unique_key": "u-1",
    "debounce_key": "d-1",
    "debounce_until": 16,
    "debounced": 2,
    "open_approvals": b'["a","b"]',
    "waiting_events": b'[{"name":"paid"}]',
    "retry_from": b'{"run_id":"r","step_id":"1","event_id":0}',
    "progress": b'{"fraction":0.5}',
    "error": b'{"message":"x"}',
    "labels": b'{"a":"1"}',
    "agent": b'{"mode":"agent"}',
    "metadata": b"[1.50]",
    "artifacts": b"[]",
    "config": b'{"a" : 1}',
    "input": '"é"'.encode(),
    "output": b"0",
    "logs": "line 1\nline 2",
    "request_snapshot": b"{}",
    "push_service_id": "service-1",
    "push_failures": 3,
    "worker_version": "2026-03-20.1",
    "pinned": True,
    "pinned_available_at": 16,
}


async def test_a_new_run_is_stored_and_gets_its_place(driver, clock):
    run = await driver.create("run-1")
    assert run.seq > 0
    assert (run.root_seq, run.path, run.version) == (run.seq, "/", 1)
    assert (run.created_at, run.updated_at, run.available_at) == (clock.now, clock.now, clock.now)
    assert run == await driver.row("run-1")


async def test_later_runs_get_higher_places(driver):
    seqs = [(await driver.create()).seq for _ in range(5)]
    assert seqs == sorted(set(seqs))


async def test_every_field_is_given_back_as_it_was_stored(driver):
    run = await driver.create("run-1", **EVERYTHING)
    stored = await driver.row("run-1")
    assert stored == run
    assert {name: getattr(stored, name) for name in EVERYTHING} == EVERYTHING
    own = {"uid", "project_id", "run_id", "status", "owner_id", "root_run_id", "created_at", "updated_at"}
    own |= {
        "seq",
        "parent_seq",
        "parent_run_id",
        "root_seq",
        "path",
        "descendants_total",
        "descendants_active",
    }
    own |= {"started_at", "available_at", "latest_event_id", "latest_external_event_sequence", "version"}
    own |= {"event_bytes", "artifact_bytes"}
    assert own | set(EVERYTHING) == set(FIELDS)
    assert isinstance(stored.status, RunStatus)


async def test_every_field_that_an_update_changes_is_stored(driver):
    await driver.create("run-1")
    changes = {
        name: value for name, value in EVERYTHING.items() if name not in {"kind", "owner_kind", "due_at"}
    }
    written = await driver.touch("run-1", **changes)
    stored = await driver.row("run-1")
    assert stored == written.run
    assert {name: getattr(stored, name) for name in changes} == changes


async def test_a_field_can_be_emptied_again(driver):
    await driver.create("run-1", title="old", output=b"1", exit_code=0)
    await driver.touch("run-1", title=None, output=None, exit_code=None)
    run = await driver.row("run-1")
    assert (run.title, run.output, run.exit_code) == (None, None, None)


async def test_an_unknown_run_is_loaded_as_none(driver, refusal):
    assert await driver.row("unknown") is None
    assert await refusal(driver.touch("unknown")) == "NOT_FOUND"


async def test_the_same_id_in_another_project_is_another_run(driver):
    mine = await driver.create("run-1", title="mine")
    theirs = await driver.create("run-1", title="theirs", project_id="p-2")
    assert mine.seq != theirs.seq
    assert (await driver.row("run-1")).title == "mine"
    assert (await driver.row("run-1", "p-2")).title == "theirs"


async def test_a_decision_sees_the_engines_time(driver, clock):
    await driver.create("run-1")
    clock.advance_ms(1_234)
    seen = []

    def rule(loaded):
        seen.append(loaded.now)
        return Transition(loaded.run)

    await driver.change("run-1", rule)
    assert seen[-1] == clock.now


async def test_time_never_runs_backwards(driver, clock):
    await driver.create("run-1")
    clock.advance_ms(-10_000)
    seen = []

    def rule(loaded):
        seen.append(loaded.now)
        return Transition(loaded.run)

    await driver.change("run-1", rule)
    assert seen[-1] == clock.now + 10_000


async def test_an_unchanged_run_is_not_written(driver, clock):
    run = await driver.create("run-1")
    clock.advance_ms(1_000)
    ignored = Transition(run, events=(NewEvent("CUSTOM", b"{}"),), receipt=Receipt("call-1", b"d"))

    def rule(loaded):
        return replace(ignored, run=loaded.run, accepted=False, duplicate=True)

    written = await driver.change("run-1", rule)
    assert written.run == run == await driver.row("run-1")
    assert (written.transition.accepted, written.transition.duplicate) == (False, True)
    assert await driver.whole_log("run-1") == []


async def test_the_transition_is_handed_back(driver):
    await driver.create("run-1")
    assert (await driver.complete("run-1")).transition.accepted
    again = await driver.complete("run-1", "failed")
    assert not again.transition.accepted
    assert again.run.status is RunStatus.COMPLETED


async def test_a_refused_create_leaves_nothing(driver, refusal):
    def refuse(loaded):
        assert loaded.run is None
        raise Error("INVALID_REQUEST", "No")

    assert await refusal(driver.runs.apply(driver.key("run-1"), refuse)) == "INVALID_REQUEST"
    assert await driver.row("run-1") is None
    assert await driver.rows() == []


async def test_a_refused_change_leaves_row_and_log_as_they_were(driver, event, refusal):
    await driver.create("run-1")
    before = (await driver.append("run-1", event())).run
    await driver.complete("run-1")
    ended = await driver.row("run-1")
    assert await refusal(driver.append("run-1", event())) == "EVENT_RUN_TERMINAL"
    assert await driver.row("run-1") == ended
    assert len(await driver.log("run-1")) == before.latest_event_id + 1


async def test_a_rule_that_raises_writes_nothing_and_affects_no_other_command(driver):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(10)))

    def broken(_):
        raise ZeroDivisionError

    commands = [
        driver.change(f"run-{n}", broken) if n % 2 else driver.touch(f"run-{n}", title="x") for n in range(10)
    ]
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert [isinstance(outcome, ZeroDivisionError) for outcome in outcomes] == [
        bool(n % 2) for n in range(10)
    ]
    assert [run.title for run in await driver.rows()] == [None if n % 2 else "x" for n in range(10)]


async def test_a_refusal_harms_no_command_beside_it(driver):
    await asyncio.gather(*(driver.create(f"run-{n}") for n in range(20)))
    await asyncio.gather(*(driver.complete(f"run-{n}") for n in range(0, 20, 2)))
    outcomes = await asyncio.gather(*(driver.wait(f"run-{n}") for n in range(20)), return_exceptions=True)
    assert [isinstance(outcome, Error) for outcome in outcomes] == [n % 2 == 0 for n in range(20)]
    statuses = [run.status.value for run in await driver.rows()]
    assert statuses == ["completed", "waiting"] * 10


async def test_a_row_that_keeps_its_version_is_a_mistake(driver):
    run = await driver.create("run-1")
    with pytest.raises(AssertionError):
        await driver.change("run-1", lambda to: Transition(replace(to.run, title="sneaky")))
    assert await driver.row("run-1") == run


async def test_events_that_the_row_does_not_count_are_a_mistake(driver):
    run = await driver.create("run-1")
    uncounted = (NewEvent("CUSTOM", b'{"type":"CUSTOM"}'),)
    with pytest.raises(AssertionError):
        await driver.change("run-1", lambda to: Transition(rewrite(to.run, to.now), events=uncounted))
    assert await driver.row("run-1") == run
    assert await driver.whole_log("run-1") == []


async def test_concurrent_changes_of_one_run_all_count(driver):
    await driver.create("run-1")
    await asyncio.gather(*(driver.touch("run-1") for _ in range(40)))
    assert (await driver.row("run-1")).version == 41


async def test_concurrent_creates_of_one_id_store_one_run(driver):
    runs = await asyncio.gather(*(driver.create("run-1") for _ in range(20)))
    assert len({run.seq for run in runs}) == 1
    assert len({run.uid for run in runs}) == 1
    assert len(await driver.rows()) == 1


async def test_of_many_concurrent_completions_one_wins(driver):
    await driver.create("run-1")
    racers = [driver.complete("run-1", status) for status in ("completed", "failed", "cancelled")] * 10
    written = await asyncio.gather(*racers)
    final = await driver.row("run-1")
    assert {w.run.status for w in written} == {final.status}
    assert sum(w.transition.accepted for w in written) == 10
    assert len(await driver.log("run-1")) == 1


async def test_a_receipt_is_found_by_its_key_alone(driver):
    await driver.create("run-1")
    await driver.create("run-2")
    await driver.wait("run-1", call="call-1")
    await driver.resume("run-1", call="call-1", result="done")
    seen = []

    def look(loaded):
        seen.append(loaded.receipt)
        return Transition(loaded.run)

    for run_id, key in [("run-1", "call-1"), ("run-1", "call-2"), ("run-2", "call-1")]:
        await driver.change(run_id, look, Want(receipt_key=key))
    await driver.change("run-1", look)
    assert seen == [Receipt("call-1", b"tool_result:done"), None, None, None]


async def test_the_same_answer_again_is_a_duplicate_and_another_a_conflict(driver, refusal):
    await driver.create("run-1")
    await driver.wait("run-1")
    first = await driver.resume("run-1", result="done")
    again = await driver.resume("run-1", result="done")
    assert (first.transition.duplicate, again.transition.duplicate) == (False, True)
    assert again.run == first.run
    assert await refusal(driver.resume("run-1", result="other")) == "TOOL_RESULT_CONFLICT"


async def test_an_ended_attempt_is_kept_with_the_change(driver, clock):
    await driver.create("run-1")
    await driver.claim("ann")
    began = clock.now
    clock.advance_ms(2_000)
    await driver.release("run-1", error=b'{"message":"no disk"}')
    run = await driver.row("run-1")
    [ended] = (await driver.runs.attempts(run.seq)).rows
    assert (ended.attempt, ended.lease_owner, ended.outcome) == (1, "ann", "released")
    assert (ended.started_at, ended.ended_at) == (began, began + 2_000)
    assert ended.error == b'{"message":"no disk"}'


async def test_attempts_are_listed_oldest_first(driver, clock):
    run = await driver.create("run-1", backoff_limit=5)
    for worker in ("ann", "bob", "cyd"):
        await driver.claim(worker)
        await driver.release("run-1", retry_after_ms=0)
    assert [a.lease_owner for a in (await driver.runs.attempts(run.seq)).rows] == ["ann", "bob", "cyd"]
    assert [a.attempt for a in (await driver.runs.attempts(run.seq)).rows] == [1, 2, 3]
