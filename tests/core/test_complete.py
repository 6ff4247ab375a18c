import msgspec
import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import NOON, Story

USAGE = b'{"model":"opus","inputTokens":3}'


def test_the_first_completion_decides_all_at_once(story):
    story.claim()
    story.later(1_500)
    done = story.complete(metadata=USAGE, output=b"[1]", logs="ok", artifacts=b"[]", exit_code=0)
    run = story.run
    assert done.accepted
    assert (run.status, run.completed_at, run.duration_ms) == (RunStatus.COMPLETED, NOON + 1_500, 1_500)
    assert (run.metadata, run.output, run.logs, run.exit_code) == (USAGE, b"[1]", "ok", 0)
    assert run.error is None
    assert (run.lease_expires_at, run.available_at, run.due_at) == (None, None, None)
    assert story.types == ["RUN_FINISHED"]
    assert story.payload()["metadata"] == {"model": "opus", "inputTokens": 3}
    assert (story.payload()["runId"], story.payload()["threadId"]) == ("run_1", "run_1")
    assert done.family_active == -1


def test_a_run_that_never_started_lasts_from_its_creation(story):
    story.later(700).complete()
    assert (story.run.started_at, story.run.duration_ms) == (None, 700)


def test_a_repeat_with_the_same_status_agrees_and_changes_nothing(story):
    story.complete(output=b"1")
    first = story.run
    assert story.later(5).complete(output=b"2").accepted
    assert story.run is first


@pytest.mark.parametrize("other", ["failed", "cancelled"])
def test_a_repeat_with_another_status_disagrees_and_changes_nothing(story, other):
    story.complete()
    first = story.run
    assert not story.complete(other, error_code="LATE").accepted
    assert story.run is first
    assert story.types == ["RUN_FINISHED"]


def test_a_failed_run_without_a_reason_says_so(story):
    story.complete("failed")
    assert story.error == {"message": "Run failed"}
    assert story.payload() == {"type": "RUN_ERROR", "message": "Run failed"}


def test_a_code_alone_is_its_own_message(story):
    story.complete("failed", error_code="BOOM")
    assert story.error == {"message": "BOOM", "code": "BOOM"}


def test_a_message_alone_has_no_code(story):
    story.complete("failed", error_message="It broke")
    assert story.error == {"message": "It broke"}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_error_that_is_given_is_kept_whatever_the_status(story, status):
    story.complete(status, error_code="C", error_message="m", error_detail=b'{"why":[1]}')
    assert story.error == {"message": "m", "code": "C", "detail": {"why": [1]}}


def test_a_completion_as_cancelled_needs_no_error(story):
    done = story.complete("cancelled")
    assert story.error is None
    assert story.types == ["RUN_ERROR"]
    assert story.run.status is RunStatus.CANCELLED
    assert done.cancels_family


def test_a_completion_with_null_values_leaves_what_is_there():
    story = Story(metadata=b'{"a":1}')
    story.complete()
    assert story.run.metadata == b'{"a":1}'


def test_a_waiting_run_can_be_completed(story):
    story.wait()
    story.complete()
    assert (story.run.waiting_reason, story.run.waiting_tool_call_id) == (None, None)


def test_an_output_of_exactly_the_limit_is_kept(story):
    story.complete(output=b"1" * limits.output_bytes_max)
    assert story.run.status is RunStatus.COMPLETED


def test_an_output_over_the_limit_fails_the_run(story):
    too_large = b"1" * (limits.output_bytes_max + 1)
    story.complete(output=too_large)
    assert story.run.status is RunStatus.FAILED
    assert story.run.output is None
    assert story.error["code"] == "OUTPUT_TOO_LARGE"
    assert story.complete(output=too_large).accepted, "the same call again"


def test_a_repeat_agrees_even_where_its_output_is_too_large(story):
    story.complete(output=b"1")
    assert story.complete(output=b"1" * (limits.output_bytes_max + 1)).accepted


def test_a_completion_by_the_current_attempt_is_taken(story):
    fence = story.claim()
    assert story.complete(fence=fence).accepted
    assert story.complete(fence=fence).accepted, "and may be repeated"


def test_a_completion_by_a_superseded_attempt_is_refused(story):
    first = story.claim()
    story.later(60_000).referee()
    story.later(1_000_000).claim("ben")
    with pytest.raises(Error) as refused:
        story.complete(fence=first)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"
    assert not story.run.terminal


def test_a_completion_without_a_fence_is_taken_even_after_the_lease_was_lost(story):
    story.claim()
    story.later(60_000).referee()
    assert story.complete().accepted


def test_the_conversation_is_the_thread_of_the_terminal_event():
    story = Story(kind="agent", conversation_id="c-1")
    story.complete()
    assert story.payload()["threadId"] == "c-1"


def test_the_terminal_event_is_one_line_of_json(story):
    story.complete("failed", error_message="two\nlines")
    assert b"\n" not in story.log[-1].payload
    assert msgspec.json.decode(story.log[-1].payload)["message"] == "two\nlines"
