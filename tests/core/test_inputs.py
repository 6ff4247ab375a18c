"""A run that waits for a form, and every way in which that wait may end."""

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import MINUTE, NOON, Story


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value


def status(story, request_id="input_1"):
    return story.inputs[request_id].status


def test_asking_holds_the_run_and_says_what_for(story):
    story.claim()
    story.ask(expires_at=NOON + MINUTE)
    run = story.run
    assert (run.status, run.waiting_reason, run.waiting_tool_call_id) == ("waiting", "input", "call_1")
    assert (run.waiting_input_id, run.wait_expires_at) == ("input_1", NOON + MINUTE)
    assert (status(story), story.inputs["input_1"].created_at) == ("open", NOON)
    assert story.log == []


def test_a_run_that_nobody_has_claimed_can_ask(story):
    story.ask()
    assert story.states == ["pending", "waiting"]


def test_a_response_resumes_the_run_with_the_values(story):
    story.ask()
    story.later(5).respond(values=b'{"name":"Ada"}')
    assert (story.run.status, story.run.waiting_input_id) == (RunStatus.RUNNING, None)
    assert (status(story), story.inputs["input_1"].ended_at) == ("submitted", NOON + 5)
    assert story.types == ["TOOL_CALL_RESULT"]
    told = {"submitted": True, "inputRequestId": "input_1", "values": {"name": "Ada"}, "withheld": []}
    assert (story.payload()["toolCallId"], story.payload()["result"]) == ("call_1", told)
    assert not story.log[-1].is_error


def test_the_same_response_again_is_a_repeat_and_another_is_refused(story):
    story.ask()
    story.respond(values=b"1")
    again = story.respond(values=b"1")
    assert again.duplicate
    assert again.input_request.status == "submitted"
    assert refused(story.respond, values=b"2").code == "INPUT_REQUEST_NOT_OPEN"
    story.complete()
    assert story.respond(values=b"1").duplicate


def test_a_cancelled_request_resumes_the_run_with_an_error(story):
    story.ask()
    story.cancel_input()
    assert (story.run.status, status(story)) == (RunStatus.RUNNING, "cancelled")
    assert story.payload()["content"] == "The input request was cancelled"
    assert story.log[-1].is_error
    assert story.cancel_input().duplicate
    assert refused(story.respond).code == "INPUT_REQUEST_NOT_OPEN"


def test_a_request_that_expires_fails_its_run(story):
    story.ask(expires_at=NOON + MINUTE)
    story.later(MINUTE).referee()
    assert (story.run.status, story.error["code"], status(story)) == ("failed", "WAIT_EXPIRED", "expired")
    assert story.inputs["input_1"].ended_at == NOON + MINUTE
    assert refused(story.respond).code == "INPUT_REQUEST_NOT_OPEN"
    assert refused(story.cancel_input).code == "INPUT_REQUEST_NOT_OPEN"


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_the_end_of_the_run_closes_its_request(story, end):
    story.ask()
    story.complete(end)
    assert (status(story), story.run.waiting_input_id) == ("cancelled", None)


def test_the_cancel_of_the_run_closes_its_request(story):
    story.ask()
    story.cancel()
    assert status(story) == "cancelled"


def test_a_worker_that_lets_go_leaves_the_request_open(story):
    story.claim()
    story.ask()
    story.later(2 * MINUTE).referee()
    assert [ended.outcome for ended in story.ended] == ["parked"]
    assert (status(story), story.run.waiting_input_id) == ("open", "input_1")


def test_a_run_holds_one_request_at_a_time(story):
    story.ask("call_1")
    assert refused(story.ask, "call_2").code == "RUN_ALREADY_WAITING"
    story.respond()
    story.ask("call_2")
    assert story.run.waiting_input_id == "input_2"


def test_a_run_that_waits_for_something_else_does_not_ask(story):
    story.wait("input", call="call_1")
    assert refused(story.ask, "call_1").code == "RUN_ALREADY_WAITING"


def test_the_same_request_again_finds_the_first_whatever_became_of_it(story):
    story.ask()
    assert story.ask().input_request.id == "input_1"
    story.respond()
    again = story.ask()
    assert (again.duplicate, again.input_request.status) == (True, "submitted")
    assert story.run.status is RunStatus.RUNNING
    story.complete()
    assert story.ask().input_request.id == "input_1"


def test_another_request_for_the_same_call_is_refused(story):
    story.ask(title="Who?")
    assert refused(story.ask, title="What?").code == "RUN_ALREADY_WAITING"
    story.respond()
    assert refused(story.ask, title="What?").code == "TOOL_RESULT_CONFLICT"


def test_a_call_that_a_plain_resume_answered_is_not_asked_for(story):
    story.wait("input", call="input:call_1")
    story.resume(kind="input", call="input:call_1")
    assert refused(story.ask, "call_1").code == "TOOL_RESULT_CONFLICT"


def test_a_run_that_has_ended_asks_nothing(story):
    story.complete()
    assert refused(story.ask).code == "RUN_NOT_ACTIVE"


def test_a_request_that_has_expired_already_is_refused(story):
    assert refused(story.ask, expires_at=NOON).errors == (("$.expires_at", "has passed"),)


def test_a_superseded_worker_asks_nothing(story):
    fence = story.claim()
    story.later(2 * MINUTE).referee()
    assert refused(story.ask, fence=fence).code == "ATTEMPT_SUPERSEDED"


def test_a_plain_resume_is_sent_to_the_responses_route():
    story = Story(kind="agent", conversation_id="conversation_1")
    story.ask()
    for kind in ("input", "tool_result", "event"):
        error = refused(story.resume, kind=kind)
        assert error.code == "TOOL_RESULT_CONFLICT"
        assert "/conversations/conversation_1/input-requests/input_1/responses" in error.message
    assert status(story) == "open"


def test_a_full_log_takes_no_response(story):
    story.ask()
    story.run = replace(story.run, latest_event_id=limits.events_per_run_max - 1)
    assert refused(story.respond).code == "EVENT_LOG_FULL"
    assert refused(story.cancel_input).code == "EVENT_LOG_FULL"
