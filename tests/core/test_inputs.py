"""A run that waits for input, and all ways in which this wait can end."""

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus

from .run_builder import MINUTE, NOON, RunBuilder


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value


def status(builder, request_id="input_1"):
    return builder.inputs[request_id].status


def test_an_input_request_lets_the_run_wait_and_names_its_call(builder):
    builder.claim()
    builder.ask(expires_at=NOON + MINUTE)
    run = builder.run
    assert (run.status, run.waiting_reason, run.waiting_tool_call_id) == ("waiting", "input", "call_1")
    assert (run.waiting_input_id, run.wait_expires_at) == ("input_1", NOON + MINUTE)
    assert (status(builder), builder.inputs["input_1"].created_at) == ("open", NOON)
    assert builder.log == []


def test_a_run_without_a_worker_can_request_input(builder):
    builder.ask()
    assert builder.states == ["pending", "waiting"]


def test_a_response_resumes_the_run_with_the_values(builder):
    builder.ask()
    builder.later(5).respond(values=b'{"name":"Ada"}')
    assert (builder.run.status, builder.run.waiting_input_id) == (RunStatus.RUNNING, None)
    assert (status(builder), builder.inputs["input_1"].ended_at) == ("submitted", NOON + 5)
    assert builder.types == ["TOOL_CALL_RESULT"]
    result = {"submitted": True, "inputRequestId": "input_1", "values": {"name": "Ada"}, "withheld": []}
    assert (builder.payload()["toolCallId"], builder.payload()["result"]) == ("call_1", result)
    assert not builder.log[-1].is_error


def test_the_same_response_again_is_a_duplicate_and_another_is_refused(builder):
    builder.ask()
    builder.respond(values=b"1")
    again = builder.respond(values=b"1")
    assert again.duplicate
    assert again.input_request.status == "submitted"
    assert refused(builder.respond, values=b"2").code == "INPUT_REQUEST_NOT_OPEN"
    builder.complete()
    assert builder.respond(values=b"1").duplicate


def test_a_cancelled_request_resumes_the_run_with_an_error(builder):
    builder.ask()
    builder.cancel_input()
    assert (builder.run.status, status(builder)) == (RunStatus.RUNNING, "cancelled")
    assert builder.payload()["content"] == "The input request was cancelled"
    assert builder.log[-1].is_error
    assert builder.cancel_input().duplicate
    assert refused(builder.respond).code == "INPUT_REQUEST_NOT_OPEN"


def test_a_request_that_expires_fails_its_run(builder):
    builder.ask(expires_at=NOON + MINUTE)
    builder.later(MINUTE).enforce_deadlines()
    assert (builder.run.status, builder.error["code"], status(builder)) == (
        "failed",
        "WAIT_EXPIRED",
        "expired",
    )
    assert builder.inputs["input_1"].ended_at == NOON + MINUTE
    assert refused(builder.respond).code == "INPUT_REQUEST_NOT_OPEN"
    assert refused(builder.cancel_input).code == "INPUT_REQUEST_NOT_OPEN"


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_the_end_of_the_run_closes_its_request(builder, end):
    builder.ask()
    builder.complete(end)
    assert (status(builder), builder.run.waiting_input_id) == ("cancelled", None)


def test_the_cancel_of_the_run_closes_its_request(builder):
    builder.ask()
    builder.cancel()
    assert status(builder) == "cancelled"


def test_a_release_leaves_the_request_open(builder):
    builder.claim()
    builder.ask()
    builder.later(2 * MINUTE).enforce_deadlines()
    assert [ended.outcome for ended in builder.ended] == ["parked"]
    assert (status(builder), builder.run.waiting_input_id) == ("open", "input_1")


def test_a_run_has_one_open_request_at_a_time(builder):
    builder.ask("call_1")
    assert refused(builder.ask, "call_2").code == "RUN_ALREADY_WAITING"
    builder.respond()
    builder.ask("call_2")
    assert builder.run.waiting_input_id == "input_2"


def test_a_run_that_waits_for_something_else_cannot_request_input(builder):
    builder.wait("input", call="call_1")
    assert refused(builder.ask, "call_1").code == "RUN_ALREADY_WAITING"


def test_the_same_request_again_returns_the_first_even_if_it_is_closed(builder):
    builder.ask()
    assert builder.ask().input_request.id == "input_1"
    builder.respond()
    again = builder.ask()
    assert (again.duplicate, again.input_request.status) == (True, "submitted")
    assert builder.run.status is RunStatus.RUNNING
    builder.complete()
    assert builder.ask().input_request.id == "input_1"


def test_another_request_for_the_same_call_is_refused(builder):
    builder.ask(title="Who?")
    assert refused(builder.ask, title="What?").code == "RUN_ALREADY_WAITING"
    builder.respond()
    assert refused(builder.ask, title="What?").code == "TOOL_RESULT_CONFLICT"


def test_a_tool_call_that_a_resume_answered_gets_no_request(builder):
    builder.wait("input", call="input:call_1")
    builder.resume(kind="input", call="input:call_1")
    assert refused(builder.ask, "call_1").code == "TOOL_RESULT_CONFLICT"


def test_an_ended_run_cannot_request_input(builder):
    builder.complete()
    assert refused(builder.ask).code == "RUN_NOT_ACTIVE"


def test_a_request_that_has_expired_already_is_refused(builder):
    assert refused(builder.ask, expires_at=NOON).errors == (("$.expires_at", "has passed"),)


def test_a_superseded_worker_cannot_request_input(builder):
    fence = builder.claim()
    builder.later(2 * MINUTE).enforce_deadlines()
    assert refused(builder.ask, fence=fence).code == "ATTEMPT_SUPERSEDED"


def test_a_plain_resume_is_sent_to_the_responses_route():
    builder = RunBuilder(kind="agent", conversation_id="conversation_1")
    builder.ask()
    for kind in ("input", "tool_result", "event"):
        error = refused(builder.resume, kind=kind)
        assert error.code == "TOOL_RESULT_CONFLICT"
        assert "/conversations/conversation_1/input-requests/input_1/responses" in error.message
    assert status(builder) == "open"


def test_a_run_with_a_full_log_accepts_no_response(builder):
    builder.ask()
    builder.run = replace(builder.run, latest_event_id=limits.events_per_run_max - 1)
    assert refused(builder.respond).code == "EVENT_LOG_FULL"
    assert refused(builder.cancel_input).code == "EVENT_LOG_FULL"
