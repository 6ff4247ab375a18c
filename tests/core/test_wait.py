import json

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import MINUTE, NOON, Story


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value.code


def test_a_wait_says_what_for(story):
    story.claim()
    story.wait("tool", call="call_1")
    run = story.run
    assert (run.status, run.waiting_reason) == (RunStatus.WAITING, "tool")
    assert (run.waiting_tool_call_id, run.waiting_tool_name) == ("call_1", "search")
    assert story.log == []


def test_a_run_that_nobody_has_claimed_can_wait(story):
    story.wait("event", call=None)
    assert story.states == ["pending", "waiting"]


def test_the_same_wait_again_is_a_duplicate_and_another_is_refused(story):
    story.wait("tool")
    assert story.wait("tool").duplicate
    assert refused(story.wait, "tool", call="call_2") == "RUN_ALREADY_WAITING"
    assert refused(story.wait, "input") == "RUN_ALREADY_WAITING"


def test_a_run_that_has_ended_does_not_wait(story):
    story.complete()
    assert refused(story.wait) == "RUN_NOT_ACTIVE"


def test_the_result_is_stored_and_the_run_goes_on(story):
    story.claim()
    story.wait()
    story.later(10).resume({"found": 2}, is_error=True)
    assert story.run.status is RunStatus.RUNNING
    assert (story.run.waiting_reason, story.run.waiting_tool_call_id) == (None, None)
    assert story.types == ["TOOL_CALL_RESULT"]
    payload = story.payload()
    assert (payload["toolCallId"], payload["result"], payload["isError"]) == ("call_1", {"found": 2}, True)
    assert story.log[-1].is_error
    assert (story.run.latest_event_id, story.run.latest_external_event_sequence) == (1, 0)


@pytest.mark.parametrize("result", [{"found": 2}, [1, "é"], 2.5, True, None])
def test_a_result_that_is_no_text_is_told_as_text_too_as_ag_ui_asks_for(story, result):
    story.wait()
    story.resume(result)
    payload = story.payload()
    assert payload["result"] == result
    assert json.loads(payload["content"]) == result


def test_a_result_that_is_text_is_told_once(story):
    story.wait()
    story.resume("found")
    assert story.payload()["content"] == "found"
    assert "result" not in story.payload()


def test_a_result_for_a_run_that_does_not_wait_is_refused(story):
    assert refused(story.resume) == "TOOL_RESULT_NOT_WAITING"


def test_a_result_for_another_call_is_refused(story):
    story.wait(call="call_1")
    assert refused(story.resume, call="call_2") == "TOOL_RESULT_CONFLICT"
    assert story.run.status is RunStatus.WAITING


def test_the_same_result_again_is_a_duplicate(story):
    story.wait()
    story.resume("a")
    assert story.resume("a").duplicate
    assert story.types == ["TOOL_CALL_RESULT"]


def test_another_result_for_the_same_call_is_refused(story):
    story.wait()
    story.resume("a")
    assert refused(story.resume, "b") == "TOOL_RESULT_CONFLICT"


def test_a_result_that_is_repeated_while_the_run_waits_for_the_next_call_is_a_duplicate(story):
    story.wait(call="call_1")
    story.resume("a", call="call_1")
    story.wait(call="call_2")
    assert story.resume("a", call="call_1").duplicate
    assert story.run.waiting_tool_call_id == "call_2"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_result_for_a_run_that_has_ended_is_refused(story, status):
    story.complete(status)
    assert refused(story.resume) == "RUN_NOT_ACTIVE"


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
def test_each_reason_is_answered_in_its_own_way(reason, kind):
    story = Story()
    story.wait(reason, call=None)
    story.resume(7, kind=kind, call=None if kind != "tool_result" else "call_1")
    assert story.run.status is RunStatus.RUNNING
    assert len(story.log) == 1


@pytest.mark.parametrize("kind", ["approval", "event", "input", "timer"])
def test_what_is_no_tool_result_does_not_answer_a_tool_call(story, kind):
    story.wait("tool")
    assert refused(story.resume, kind=kind) == "TOOL_RESULT_CONFLICT"


def test_a_worker_keeps_its_lease_while_the_run_waits(story):
    fence = story.claim()
    story.wait()
    assert story.renew(fence=fence).accepted
    story.resume()
    assert not story.claimable
    assert story.complete(fence=fence).accepted


def test_a_lease_that_expires_while_the_run_waits_costs_no_attempt(story):
    story.claim()
    story.wait()
    story.later(MINUTE).referee()
    assert (story.run.status, story.run.lease_token, story.run.attempts_lost) == (RunStatus.WAITING, None, 0)
    assert [ended.outcome for ended in story.ended] == ["parked"]
    story.resume()
    assert story.claimable, "for the next worker"


def test_a_release_while_the_run_waits_costs_no_attempt(story):
    fence = story.claim()
    story.wait()
    story.release(fence=fence)
    assert (story.run.status, story.run.attempts_lost) == (RunStatus.WAITING, 0)
    assert refused(story.append, fence=fence) == "ATTEMPT_SUPERSEDED"


def test_waiting_is_no_working_time():
    story = Story(timeout_seconds=10)
    story.claim(lease_ms=300_000)
    story.wait()
    assert story.run.due_at == NOON + 300_000
    story.later(60_000).resume()
    assert story.run.due_at == story.now + 10_000


def test_a_wait_that_is_over_fails_the_run(story):
    story.claim()
    story.wait(expires_at=NOON + 100)
    story.later(100).referee()
    assert story.error["code"] == "WAIT_EXPIRED"
    assert story.error["detail"]["reason"] == "wait_expired"
    assert story.run.lease_token is None


def test_a_timer_resumes_the_run(story):
    story.wait("event", call=None, resume_at=NOON + 100)
    assert story.run.due_at == NOON + 100
    story.later(100).referee()
    assert story.run.status is RunStatus.RUNNING
    assert story.payload()["value"]["type"] == "timer"
    assert story.claimable


def test_a_timer_that_came_first_resumes_the_run_even_where_the_referee_comes_late(story):
    story.wait("event", call=None, resume_at=NOON + 100, expires_at=NOON + 200)
    story.later(MINUTE).referee()
    assert story.run.status is RunStatus.RUNNING


def test_a_resume_of_a_run_driven_without_a_worker_leaves_it_to_its_driver():
    story = Story(kind="agent", status=RunStatus.RUNNING)
    story.wait()
    story.resume()
    assert story.run.status is RunStatus.RUNNING
    assert not story.claimable


def test_a_log_that_is_full_keeps_its_last_place_for_the_terminal_event(story):
    story.wait()
    story.run = replace(story.run, latest_event_id=limits.events_per_run_max - 1)
    assert refused(story.resume) == "EVENT_LOG_FULL"


def test_a_timer_on_a_full_log_fails_the_run(story):
    story.wait("event", call=None, resume_at=NOON + 100)
    story.run = replace(story.run, latest_event_id=limits.events_per_run_max - 1)
    story.later(100).referee()
    assert story.error["code"] == "EVENT_LOG_FULL"
    assert story.run.latest_event_id == limits.events_per_run_max
