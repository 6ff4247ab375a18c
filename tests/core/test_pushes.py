"""Pushed runs: dispatched, not delivered, silent, cancelled."""

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.queue.push_service import choose, is_active
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus

from .run_builder import NOON, SERVICE, RunBuilder, event

SILENCE = limits.push_silence_ms


@pytest.fixture
def pushed():
    return RunBuilder(
        kind="agent", target="agent:scribe", push_service_id="service-1", request_snapshot=b"{}"
    )


def test_a_started_run_of_an_agent_with_a_service_waits_for_it():
    defaults = {"kind": "agent", "request_snapshot": b"{}"}
    run = RunBuilder(**defaults).run
    for fields, pushed in (
        ({}, True),
        ({"request_snapshot": None}, False),
        ({"status": RunStatus.RUNNING}, False),
    ):
        made = transitions.create(
            replace(run, available_at=None, **fields),
            now=NOON,
            parent=None,
            family_cancelled=False,
            message=None,
            push_service_id="service-1",
        ).run
        assert (made.push_service_id is not None, made.available_at is not None) == (pushed, pushed)


def test_the_second_step_of_a_start_leaves_the_run_pending_for_its_service():
    builder = RunBuilder(kind="agent")
    builder.take(transitions.start(builder.run, now=NOON, snapshot=b"{}", push_service_id="service-1"))
    assert (builder.run.status, builder.run.available_at) == (RunStatus.PENDING, NOON)
    assert builder.last.duplicate
    builder.take(transitions.start(builder.run, now=NOON, snapshot=b"[]", push_service_id="service-2"))
    assert (builder.run.request_snapshot, builder.run.push_service_id) == (b"{}", "service-1")


def test_a_dispatch_is_an_attempt_with_a_short_lease(pushed):
    pushed.dispatch()
    run = pushed.run
    assert (run.status, run.attempt, run.lease_owner) == (RunStatus.RUNNING, 1, "service-1")
    assert run.lease_expires_at == NOON + limits.dispatch_lease_ms
    assert limits.dispatch_lease_ms > limits.dispatch_s_max * 1000


def test_an_accepted_run_has_a_long_lease(pushed):
    fence = pushed.dispatch()
    pushed.later(1_000).dispatched(fence.token)
    assert pushed.run.lease_expires_at == NOON + 1_000 + SILENCE
    pushed.later(SILENCE).enforce_deadlines()
    assert pushed.run.status is RunStatus.PENDING
    assert pushed.ended[-1].outcome == "lease_expired"


def test_appends_renew_the_lease_but_not_each_append(pushed):
    fence = pushed.dispatch()
    pushed.dispatched(fence.token)
    pushed.later(limits.push_renewal_ms - 1).append(event())
    assert pushed.run.lease_expires_at == NOON + SILENCE
    pushed.later(1).append(event())
    assert pushed.run.lease_expires_at == pushed.run.due_at == pushed.now + SILENCE


def test_an_append_renews_no_other_lease():
    builder = RunBuilder()
    builder.claim(lease_ms=600_000)
    until = builder.run.lease_expires_at
    builder.later(300_000).append(event())
    assert builder.run.lease_expires_at == until


def test_failed_dispatches_do_not_count_as_lost_attempts_but_a_silence_does(pushed):
    for number in range(1, limits.dispatch_tries_max):
        fence = pushed.dispatch()
        pushed.undelivered(fence.token)
        assert (pushed.run.push_failures, pushed.run.attempts_lost) == (number, 0)
        assert pushed.run.available_at > pushed.now
        pushed.later(limits.backoff_ms_max)
    fence = pushed.dispatch()
    pushed.dispatched(fence.token)
    assert pushed.run.push_failures == 0


def test_the_last_failed_dispatch_fails_the_run(pushed):
    for _ in range(limits.dispatch_tries_max):
        assert not pushed.run.terminal
        fence = pushed.dispatch()
        pushed.undelivered(fence.token)
        pushed.later(limits.backoff_ms_max)
    assert (pushed.run.status, pushed.error["code"]) == (RunStatus.FAILED, "DISPATCH_FAILED")
    assert pushed.types == ["RUN_ERROR"]
    assert len(pushed.ended) == limits.dispatch_tries_max


def test_a_final_failure_fails_the_run_at_once(pushed):
    fence = pushed.dispatch()
    pushed.undelivered(fence.token, final=True)
    assert pushed.error["code"] == "DISPATCH_FAILED"


def test_retry_after_only_lengthens_the_pause(pushed):
    fence = pushed.dispatch()
    pushed.undelivered(fence.token, retry_after_ms=60_000, dice=0.999)
    assert pushed.run.available_at == NOON + 60_000
    pushed.later(60_000)
    fence = pushed.dispatch()
    pushed.undelivered(fence.token, retry_after_ms=1)
    assert pushed.run.available_at >= pushed.now + 1_000


def test_a_late_answer_changes_nothing(pushed):
    first = pushed.dispatch()
    pushed.later(limits.dispatch_lease_ms).enforce_deadlines()
    pushed.later(limits.backoff_ms_max)
    pushed.dispatch()
    before = pushed.run
    assert not pushed.undelivered(first.token).accepted
    assert not pushed.dispatched(first.token).accepted
    assert pushed.run is before


def test_without_a_service_the_dispatch_fails_and_no_attempt_begins(pushed):
    pushed.dispatch(reached=False)
    assert (pushed.run.push_failures, pushed.run.attempt, pushed.ended) == (1, 0, [])
    assert pushed.run.status is RunStatus.PENDING


def test_another_service_takes_the_run_over(pushed):
    other = replace(SERVICE, id="service-2")
    pushed.take(transitions.dispatch(pushed.run, now=NOON, service=other, token="t", dice=0.5))
    assert (pushed.run.push_service_id, pushed.run.lease_owner) == ("service-2", "service-2")


def test_a_cancelled_run_has_stopped_once_its_service_confirmed_it(pushed):
    fence = pushed.dispatch()
    pushed.dispatched(fence.token)
    pushed.cancel()
    assert pushed.run.cancel_stopped_at is None
    assert pushed.later(5).stopped_by_service().accepted
    assert (pushed.run.cancel_stopped_at, pushed.run.due_at) == (NOON + 5, None)
    assert not pushed.later(5).stopped_by_service().accepted


def test_a_run_that_no_service_received_stops_with_its_cancel(pushed):
    pushed.cancel()
    assert pushed.run.cancel_stopped_at == NOON


def test_a_cancel_between_two_dispatches_is_sent_to_the_service_too(pushed):
    """The answer may have been lost while the service works on the run."""
    fence = pushed.dispatch()
    pushed.undelivered(fence.token)
    pushed.cancel()
    assert pushed.run.cancel_stopped_at is None


def test_a_silent_or_disabled_service_is_not_active():
    last = limits.push_service_silence_s * 1000
    assert is_active(None, NOON, NOON + last)
    assert not is_active(None, NOON, NOON + last + 1)
    assert not is_active(NOON, NOON, NOON)
    assert limits.push_service_silence_s > 2 * 30, "one lost heartbeat is no end"


def test_the_most_specific_service_wins_then_the_latest_heartbeat():
    whole = replace(SERVICE, id="whole")
    agent = replace(SERVICE, id="agent", agent_id="scribe")
    everywhere = replace(SERVICE, id="everywhere", project_id=None, scope_kind="global", agent_id="scribe")
    fresh = replace(whole, id="fresh", last_heartbeat_at=NOON + 1)
    gone = replace(agent, id="gone", active=False, last_heartbeat_at=NOON + 9)
    foreign = replace(agent, id="foreign", agent_id="other")
    every = [everywhere, whole, fresh, agent, gone, foreign]
    for expected in ("agent", "fresh", "whole", "everywhere", None):
        found = choose(every, "scribe")
        assert (found and found.id) == expected
        every = [one for one in every if one is not found]
