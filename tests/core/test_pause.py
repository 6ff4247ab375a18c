"""A paused run cannot be claimed until an unpause, and loses nothing."""

import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus

from .run_builder import MINUTE, NOON, RunBuilder, event


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value


def test_a_pending_run_is_paused_and_keeps_its_place_in_the_queue():
    builder = RunBuilder()
    builder.later(1_000).pause()
    run = builder.run
    assert (run.status, run.paused, run.shown_reason, run.available_at) == (
        RunStatus.WAITING,
        True,
        "event",
        None,
    )
    assert not builder.claimable
    builder.later(MINUTE).unpause()
    assert (builder.run.status, builder.run.available_at) == (RunStatus.RUNNING, NOON)
    assert builder.claimable
    builder.claim()
    assert builder.run.attempt == 1


def test_a_backoff_goes_on_during_a_pause():
    builder = RunBuilder(backoff_limit=3)
    builder.claim()
    builder.release(retry_after_ms=MINUTE)
    builder.later(1_000).pause()
    builder.unpause()
    assert not builder.claimable
    assert builder.later(MINUTE).claimable


def test_pausing_a_running_run_ends_the_attempt_without_counting_it():
    builder = RunBuilder(backoff_limit=0)
    fence = builder.claim()
    builder.pause()
    assert [(ended.attempt, ended.outcome) for ended in builder.ended] == [(1, "paused")]
    assert (builder.run.attempts_lost, builder.run.due_at) == (0, None)
    assert not builder.renew(worker="ann").accepted
    for act in (builder.append, builder.complete):
        assert (
            refused(act, *([event()] if act == builder.append else []), fence=fence).code
            == "ATTEMPT_SUPERSEDED"
        )
    assert refused(builder.append, event()).code == "EVENT_RUN_WAITING"
    builder.later(5_000).unpause()
    assert builder.run.available_at == builder.now
    builder.claim("bob")
    assert (builder.run.attempt, builder.run.attempts_lost) == (2, 0)


def test_an_unpaused_run_that_its_client_drives_is_running():
    builder = RunBuilder(kind="agent", status=RunStatus.RUNNING)
    builder.pause()
    builder.unpause()
    assert (builder.run.status, builder.run.available_at) == (RunStatus.RUNNING, None)


def test_a_pause_is_repeated_without_effect():
    builder = RunBuilder()
    builder.pause()
    run = builder.run
    assert builder.pause().duplicate
    assert builder.run is run


def test_only_an_unpause_ends_a_pause():
    builder = RunBuilder()
    builder.pause()
    for kind in ("event", "timer", "tool_result", "input", "approval"):
        error = refused(builder.resume, kind=kind)
        assert (error.code, "paused" in error.message) == ("TOOL_RESULT_CONFLICT", True)
    error = refused(builder.wait, "event", call=None)
    assert (error.code, "paused" in error.message) == ("RUN_ALREADY_WAITING", True)


def test_an_unpause_ends_nothing_but_a_pause():
    builder = RunBuilder()
    assert refused(builder.unpause).code == "TOOL_RESULT_NOT_WAITING"
    builder.wait("event", call=None)
    assert refused(builder.unpause).code == "TOOL_RESULT_CONFLICT"
    assert refused(builder.pause).code == "RUN_ALREADY_WAITING"
    builder.cancel()
    assert {refused(act).code for act in (builder.pause, builder.unpause)} == {"RUN_NOT_ACTIVE"}


def test_an_unpause_appends_an_event_like_any_resume():
    builder = RunBuilder()
    builder.pause()
    assert builder.types == []
    builder.unpause()
    assert (builder.payload()["name"], builder.payload()["value"]["type"]) == ("run.resumed", "unpause")


def test_a_paused_run_may_be_completed_and_cancelled():
    for end in ("complete", "cancel"):
        builder = RunBuilder()
        builder.pause()
        getattr(builder, end)()
        assert builder.run.terminal
        assert (builder.run.paused, builder.run.paused_available_at) == (False, None)


def test_a_start_payload_is_stored_during_a_pause():
    builder = RunBuilder(kind="agent")
    builder.pause()
    builder.start(b'{"messages":[]}')
    assert (builder.run.status, builder.run.request_snapshot) == (RunStatus.WAITING, b'{"messages":[]}')
    builder.unpause()
    assert builder.run.status is RunStatus.RUNNING
