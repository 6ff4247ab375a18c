"""A paused run is held back from everybody until an unpause, and nothing is lost by that."""

import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import MINUTE, NOON, Story, event


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value


def test_a_pending_run_is_paused_and_keeps_its_place_in_the_queue():
    story = Story()
    story.later(1_000).pause()
    run = story.run
    assert (run.status, run.paused, run.shown_reason, run.available_at) == (
        RunStatus.WAITING,
        True,
        "event",
        None,
    )
    assert not story.claimable
    story.later(MINUTE).unpause()
    assert (story.run.status, story.run.available_at) == (RunStatus.RUNNING, NOON)
    assert story.claimable
    story.claim()
    assert story.run.attempt == 1


def test_a_backoff_goes_on_during_a_pause():
    story = Story(backoff_limit=3)
    story.claim()
    story.release(retry_after_ms=MINUTE)
    story.later(1_000).pause()
    story.unpause()
    assert not story.claimable
    assert story.later(MINUTE).claimable


def test_pausing_a_running_run_ends_the_attempt_without_counting_it():
    story = Story(backoff_limit=0)
    fence = story.claim()
    story.pause()
    assert [(ended.attempt, ended.outcome) for ended in story.ended] == [(1, "paused")]
    assert (story.run.attempts_lost, story.run.due_at) == (0, None)
    assert not story.renew(worker="ann").accepted
    for act in (story.append, story.complete):
        assert (
            refused(act, *([event()] if act == story.append else []), fence=fence).code
            == "ATTEMPT_SUPERSEDED"
        )
    assert refused(story.append, event()).code == "EVENT_RUN_WAITING"
    story.later(5_000).unpause()
    assert story.run.available_at == story.now
    story.claim("bob")
    assert (story.run.attempt, story.run.attempts_lost) == (2, 0)


def test_a_run_that_nobody_claims_goes_on_running():
    story = Story(kind="agent", status=RunStatus.RUNNING)
    story.pause()
    story.unpause()
    assert (story.run.status, story.run.available_at) == (RunStatus.RUNNING, None)


def test_a_pause_is_repeated_without_effect():
    story = Story()
    story.pause()
    run = story.run
    assert story.pause().duplicate
    assert story.run is run


def test_only_an_unpause_ends_a_pause():
    story = Story()
    story.pause()
    for kind in ("event", "timer", "tool_result", "input", "approval"):
        error = refused(story.resume, kind=kind)
        assert (error.code, "paused" in error.message) == ("TOOL_RESULT_CONFLICT", True)
    error = refused(story.wait, "event", call=None)
    assert (error.code, "paused" in error.message) == ("RUN_ALREADY_WAITING", True)


def test_an_unpause_ends_nothing_but_a_pause():
    story = Story()
    assert refused(story.unpause).code == "TOOL_RESULT_NOT_WAITING"
    story.wait("event", call=None)
    assert refused(story.unpause).code == "TOOL_RESULT_CONFLICT"
    assert refused(story.pause).code == "RUN_ALREADY_WAITING"
    story.cancel()
    assert {refused(act).code for act in (story.pause, story.unpause)} == {"RUN_NOT_ACTIVE"}


def test_an_unpause_is_told_in_the_log_as_any_resume_is():
    story = Story()
    story.pause()
    assert story.types == []
    story.unpause()
    assert (story.payload()["name"], story.payload()["value"]["type"]) == ("run.resumed", "unpause")


def test_a_paused_run_may_be_completed_and_cancelled():
    for end in ("complete", "cancel"):
        story = Story()
        story.pause()
        getattr(story, end)()
        assert story.run.terminal
        assert (story.run.paused, story.run.paused_available_at) == (False, None)


def test_a_start_payload_comes_during_a_pause_and_stays():
    story = Story(kind="agent")
    story.pause()
    story.start(b'{"messages":[]}')
    assert (story.run.status, story.run.request_snapshot) == (RunStatus.WAITING, b'{"messages":[]}')
    story.unpause()
    assert story.run.status is RunStatus.RUNNING
