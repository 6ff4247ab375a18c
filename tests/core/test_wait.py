import json

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus

from .run_builder import MINUTE, NOON, RunBuilder


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value.code


def test_a_wait_records_its_reason(builder):
    builder.claim()
    builder.wait("tool", call="call_1")
    run = builder.run
    assert (run.status, run.waiting_reason) == (RunStatus.WAITING, "tool")
    assert (run.waiting_tool_call_id, run.waiting_tool_name) == ("call_1", "search")
    assert builder.log == []


def test_a_run_without_a_worker_can_wait(builder):
    builder.wait("event", call=None)
    assert builder.states == ["pending", "waiting"]


def test_the_same_wait_again_is_a_duplicate_and_another_is_refused(builder):
    builder.wait("tool")
    assert builder.wait("tool").duplicate
    assert refused(builder.wait, "tool", call="call_2") == "RUN_ALREADY_WAITING"
    assert refused(builder.wait, "input") == "RUN_ALREADY_WAITING"


def test_an_ended_run_cannot_wait(builder):
    builder.complete()
    assert refused(builder.wait) == "RUN_NOT_ACTIVE"


def test_the_result_is_stored_and_the_run_resumes(builder):
    builder.claim()
    builder.wait()
    builder.later(10).resume({"found": 2}, is_error=True)
    assert builder.run.status is RunStatus.RUNNING
    assert (builder.run.waiting_reason, builder.run.waiting_tool_call_id) == (None, None)
    assert builder.types == ["TOOL_CALL_RESULT"]
    payload = builder.payload()
    assert (payload["toolCallId"], payload["result"], payload["isError"]) == ("call_1", {"found": 2}, True)
    assert builder.log[-1].is_error
    assert (builder.run.latest_event_id, builder.run.latest_external_event_sequence) == (1, 0)


@pytest.mark.parametrize("result", [{"found": 2}, [1, "é"], 2.5, True, None])
def test_a_result_that_is_not_text_also_has_a_text_form_as_ag_ui_requires(builder, result):
    builder.wait()
    builder.resume(result)
    payload = builder.payload()
    assert payload["result"] == result
    assert json.loads(payload["content"]) == result


def test_a_text_result_is_stored_once(builder):
    builder.wait()
    builder.resume("found")
    assert builder.payload()["content"] == "found"
    assert "result" not in builder.payload()


def test_a_result_for_a_run_that_does_not_wait_is_refused(builder):
    assert refused(builder.resume) == "TOOL_RESULT_NOT_WAITING"


def test_a_result_for_another_call_is_refused(builder):
    builder.wait(call="call_1")
    assert refused(builder.resume, call="call_2") == "TOOL_RESULT_CONFLICT"
    assert builder.run.status is RunStatus.WAITING


def test_the_same_result_again_is_a_duplicate(builder):
    builder.wait()
    builder.resume("a")
    assert builder.resume("a").duplicate
    assert builder.types == ["TOOL_CALL_RESULT"]


def test_another_result_for_the_same_call_is_refused(builder):
    builder.wait()
    builder.resume("a")
    assert refused(builder.resume, "b") == "TOOL_RESULT_CONFLICT"


def test_a_result_that_is_repeated_while_the_run_waits_for_the_next_call_is_a_duplicate(builder):
    builder.wait(call="call_1")
    builder.resume("a", call="call_1")
    builder.wait(call="call_2")
    assert builder.resume("a", call="call_1").duplicate
    assert builder.run.waiting_tool_call_id == "call_2"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_result_for_a_run_that_has_ended_is_refused(builder, status):
    builder.complete(status)
    assert refused(builder.resume) == "RUN_NOT_ACTIVE"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("tool", "tool_result"),
        ("approval", "approval"),
        ("event", "event"),
        ("input", "input"),
        ("event", "timer"),
    ],
)
def test_each_waiting_reason_has_its_type_of_resume(reason, kind):
    builder = RunBuilder()
    builder.wait(reason, call=None)
    builder.resume(7, kind=kind, call=None if kind != "tool_result" else "call_1")
    assert builder.run.status is RunStatus.RUNNING
    assert len(builder.log) == 1


@pytest.mark.parametrize("kind", ["approval", "event", "input", "timer"])
def test_another_type_of_resume_does_not_answer_a_tool_call(builder, kind):
    builder.wait("tool")
    assert refused(builder.resume, kind=kind) == "TOOL_RESULT_CONFLICT"


def test_a_worker_keeps_its_lease_while_the_run_waits(builder):
    fence = builder.claim()
    builder.wait()
    assert builder.renew(fence=fence).accepted
    builder.resume()
    assert not builder.claimable
    assert builder.complete(fence=fence).accepted


def test_a_lease_that_expires_while_the_run_waits_costs_no_attempt(builder):
    builder.claim()
    builder.wait()
    builder.later(MINUTE).enforce_deadlines()
    assert (builder.run.status, builder.run.lease_token, builder.run.attempts_lost) == (
        RunStatus.WAITING,
        None,
        0,
    )
    assert [ended.outcome for ended in builder.ended] == ["parked"]
    builder.resume()
    assert builder.claimable, "for the next worker"


def test_a_release_while_the_run_waits_costs_no_attempt(builder):
    fence = builder.claim()
    builder.wait()
    builder.release(fence=fence)
    assert (builder.run.status, builder.run.attempts_lost) == (RunStatus.WAITING, 0)
    assert refused(builder.append, fence=fence) == "ATTEMPT_SUPERSEDED"


def test_waiting_does_not_count_for_the_timeout():
    builder = RunBuilder(timeout_seconds=10)
    builder.claim(lease_ms=300_000)
    builder.wait()
    assert builder.run.due_at == NOON + 300_000
    builder.later(60_000).resume()
    assert builder.run.due_at == builder.now + 10_000


def test_an_expired_wait_fails_the_run(builder):
    builder.claim()
    builder.wait(expires_at=NOON + 100)
    builder.later(100).enforce_deadlines()
    assert builder.error["code"] == "WAIT_EXPIRED"
    assert builder.error["detail"]["reason"] == "wait_expired"
    assert builder.run.lease_token is None


def test_a_timer_resumes_the_run(builder):
    builder.wait("event", call=None, resume_at=NOON + 100)
    assert builder.run.due_at == NOON + 100
    builder.later(100).enforce_deadlines()
    assert builder.run.status is RunStatus.RUNNING
    assert builder.payload()["value"]["type"] == "timer"
    assert builder.claimable


def test_an_earlier_timer_resumes_the_run_even_if_it_is_enforced_late(builder):
    builder.wait("event", call=None, resume_at=NOON + 100, expires_at=NOON + 200)
    builder.later(MINUTE).enforce_deadlines()
    assert builder.run.status is RunStatus.RUNNING


def test_a_resume_of_a_run_driven_without_a_worker_leaves_it_to_its_driver():
    builder = RunBuilder(kind="agent", status=RunStatus.RUNNING)
    builder.wait()
    builder.resume()
    assert builder.run.status is RunStatus.RUNNING
    assert not builder.claimable


def test_a_log_that_is_full_keeps_its_last_place_for_the_terminal_event(builder):
    builder.wait()
    builder.run = replace(builder.run, latest_event_id=limits.events_per_run_max - 1)
    assert refused(builder.resume) == "EVENT_LOG_FULL"


def test_a_timer_on_a_full_log_fails_the_run(builder):
    builder.wait("event", call=None, resume_at=NOON + 100)
    builder.run = replace(builder.run, latest_event_id=limits.events_per_run_max - 1)
    builder.later(100).enforce_deadlines()
    assert builder.error["code"] == "EVENT_LOG_FULL"
    assert builder.run.latest_event_id == limits.events_per_run_max


# Approvals without a call id, and several that are open


def test_the_only_open_approval_needs_no_call_id(builder):
    assert transitions.only_approval(builder.run) is None
    builder.wait("approval", call="pay")
    assert transitions.only_approval(builder.run) == "pay"
    builder.resume(True, kind="approval", call="pay")
    assert transitions.only_approval(builder.run) is None


def test_several_open_approvals_are_listed(builder):
    builder.wait("approval", call="pay", approvals=("pay", "ship"))
    with pytest.raises(Error, match="one of pay, ship") as listed:
        transitions.only_approval(builder.run)
    assert listed.value.code == "TOOL_RESULT_CONFLICT"


@pytest.mark.parametrize("reason", ["approval", "event"])
def test_any_open_approval_is_answered_whatever_the_run_waits_for(builder, reason):
    builder.wait(reason, call="first", approvals=("ship",))
    assert refused(builder.resume, True, kind="approval", call="other") == "TOOL_RESULT_CONFLICT"
    assert refused(builder.resume, True, kind="event", call="ship") == "TOOL_RESULT_CONFLICT"
    builder.resume(True, kind="approval", call="ship")
    assert builder.run.status is RunStatus.RUNNING
    assert builder.payload()["value"]["tool_call_id"] == "ship"
    assert builder.run.open_approvals is None


def test_a_wait_for_any_approval_has_the_listed_ones_open(builder):
    builder.wait("approval", call=None, approvals=("pay", "ship"))
    assert transitions.open_approvals(builder.run) == ("pay", "ship")
    builder.resume(True, kind="approval", call="pay")
    assert builder.run.status is RunStatus.RUNNING
