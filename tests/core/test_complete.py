import msgspec
import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus

from .run_builder import NOON, RunBuilder

USAGE = b'{"model":"opus","inputTokens":3}'


def test_the_first_completion_sets_all_values(builder):
    builder.claim()
    builder.later(1_500)
    done = builder.complete(metadata=USAGE, output=b"[1]", logs="ok", artifacts=b"[]", exit_code=0)
    run = builder.run
    assert done.accepted
    assert (run.status, run.completed_at, run.duration_ms) == (RunStatus.COMPLETED, NOON + 1_500, 1_500)
    assert (run.metadata, run.output, run.logs, run.exit_code) == (USAGE, b"[1]", "ok", 0)
    assert run.error is None
    assert (run.lease_expires_at, run.available_at, run.due_at) == (None, None, None)
    assert builder.types == ["RUN_FINISHED"]
    assert builder.payload()["metadata"] == {"model": "opus", "inputTokens": 3}
    assert (builder.payload()["runId"], builder.payload()["threadId"]) == ("run_1", "run_1")
    assert done.family_active == -1


def test_a_run_that_never_started_lasts_from_its_creation(builder):
    builder.later(700).complete()
    assert (builder.run.started_at, builder.run.duration_ms) == (None, 700)


def test_a_repeat_with_the_same_status_agrees_and_changes_nothing(builder):
    builder.complete(output=b"1")
    first = builder.run
    assert builder.later(5).complete(output=b"2").accepted
    assert builder.run is first


@pytest.mark.parametrize("other", ["failed", "cancelled"])
def test_a_repeat_with_another_status_disagrees_and_changes_nothing(builder, other):
    builder.complete()
    first = builder.run
    assert not builder.complete(other, error_code="LATE").accepted
    assert builder.run is first
    assert builder.types == ["RUN_FINISHED"]


def test_a_failed_run_without_a_reason_has_a_default_message(builder):
    builder.complete("failed")
    assert builder.error == {"message": "Run failed"}
    assert builder.payload() == {"type": "RUN_ERROR", "message": "Run failed"}


def test_a_code_alone_is_its_own_message(builder):
    builder.complete("failed", error_code="BOOM")
    assert builder.error == {"message": "BOOM", "code": "BOOM"}


def test_a_message_alone_has_no_code(builder):
    builder.complete("failed", error_message="It broke")
    assert builder.error == {"message": "It broke"}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_given_error_is_stored_with_any_status(builder, status):
    builder.complete(status, error_code="C", error_message="m", error_detail=b'{"why":[1]}')
    assert builder.error == {"message": "m", "code": "C", "detail": {"why": [1]}}


def test_a_completion_as_cancelled_needs_no_error(builder):
    done = builder.complete("cancelled")
    assert builder.error is None
    assert builder.types == ["RUN_ERROR"]
    assert builder.run.status is RunStatus.CANCELLED
    assert done.cancels_family


def test_a_completion_with_null_values_changes_no_values():
    builder = RunBuilder(metadata=b'{"a":1}')
    builder.complete()
    assert builder.run.metadata == b'{"a":1}'


def test_a_waiting_run_can_be_completed(builder):
    builder.wait()
    builder.complete()
    assert (builder.run.waiting_reason, builder.run.waiting_tool_call_id) == (None, None)


def test_an_output_of_exactly_the_limit_is_stored(builder):
    builder.complete(output=b"1" * limits.output_bytes_max)
    assert builder.run.status is RunStatus.COMPLETED


def test_an_output_over_the_limit_fails_the_run(builder):
    too_large = b"1" * (limits.output_bytes_max + 1)
    builder.complete(output=too_large)
    assert builder.run.status is RunStatus.FAILED
    assert builder.run.output is None
    assert builder.error["code"] == "OUTPUT_TOO_LARGE"
    assert builder.complete(output=too_large).accepted, "the same call again"


def test_a_repeat_with_an_output_that_is_too_large_agrees(builder):
    builder.complete(output=b"1")
    assert builder.complete(output=b"1" * (limits.output_bytes_max + 1)).accepted


def test_a_completion_by_the_current_attempt_is_accepted(builder):
    fence = builder.claim()
    assert builder.complete(fence=fence).accepted
    assert builder.complete(fence=fence).accepted, "and may be repeated"


def test_a_completion_by_a_superseded_attempt_is_refused(builder):
    first = builder.claim()
    builder.later(60_000).enforce_deadlines()
    builder.later(1_000_000).claim("ben")
    with pytest.raises(Error) as refused:
        builder.complete(fence=first)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"
    assert not builder.run.terminal


def test_a_completion_without_a_fence_is_accepted_even_after_the_lease_was_lost(builder):
    builder.claim()
    builder.later(60_000).enforce_deadlines()
    assert builder.complete().accepted


def test_the_conversation_is_the_thread_of_the_terminal_event():
    builder = RunBuilder(kind="agent", conversation_id="c-1")
    builder.complete()
    assert builder.payload()["threadId"] == "c-1"


def test_the_terminal_event_is_one_line_of_json(builder):
    builder.complete("failed", error_message="two\nlines")
    assert b"\n" not in builder.log[-1].payload
    assert msgspec.json.decode(builder.log[-1].payload)["message"] == "two\nlines"
