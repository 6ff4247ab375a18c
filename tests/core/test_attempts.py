import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus

from .run_builder import MINUTE, NOON, RunBuilder

FOREVER = 10_000_000_000


def lose(builder):
    """Claim the run, let the lease run out, and wait until the backoff is over."""
    builder.claim()
    builder.later(MINUTE).enforce_deadlines()
    return builder.later(MINUTE * 6)


def test_a_claim_is_an_attempt_with_a_lease_and_a_token(builder):
    fence = builder.claim("ann", lease_ms=30_000)
    run = builder.run
    assert run.status is RunStatus.RUNNING
    assert (run.attempt, run.lease_owner, run.lease_token) == (1, "ann", fence.token)
    assert (run.lease_expires_at, run.due_at) == (NOON + 30_000, NOON + 30_000)
    assert (run.started_at, run.attempt_started_at, run.last_heartbeat_at) == (NOON, NOON, NOON)


def test_a_leased_run_cannot_be_claimed_by_another_worker(builder):
    builder.claim()
    assert not builder.claimable
    assert not builder.later(FOREVER).claimable, "not before its lease was taken away"


def test_an_ended_or_waiting_run_is_not_claimable():
    for end in ("completed", "failed", "cancelled"):
        builder = RunBuilder()
        builder.complete(end)
        assert not builder.later(FOREVER).claimable
    waiting = RunBuilder()
    waiting.wait()
    assert not waiting.later(FOREVER).claimable


def test_a_run_is_not_claimable_before_it_is_due():
    builder = RunBuilder(available_at=NOON + 500)
    assert not builder.claimable
    assert builder.later(500).claimable


def test_a_lost_lease_puts_the_run_back_after_a_backoff(builder):
    builder.claim()
    builder.later(MINUTE).enforce_deadlines(dice=0.0)
    run = builder.run
    assert (run.status, run.lease_token, run.lease_expires_at) == (RunStatus.PENDING, None, None)
    assert run.available_at == builder.now + 500
    assert (run.attempt, run.attempts_lost) == (1, 1)
    (ended,) = builder.ended
    assert (ended.attempt, ended.lease_owner, ended.outcome) == (1, "ann", "lease_expired")
    assert (ended.started_at, ended.ended_at) == (NOON, NOON + MINUTE)
    assert builder.log == []


def test_the_next_attempt_keeps_when_the_run_started(builder):
    lose(builder).claim("ben")
    assert (builder.run.attempt, builder.run.lease_owner) == (2, "ben")
    assert (builder.run.started_at, builder.run.attempt_started_at) == (NOON, builder.now)


def test_a_run_without_a_limit_gets_three_retries(builder):
    for _ in range(3):
        lose(builder)
        assert builder.run.status is RunStatus.PENDING
    lose(builder)
    assert builder.run.status is RunStatus.FAILED
    assert builder.error["code"] == "LEASE_EXPIRED"
    assert builder.run.attempt == 4


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_a_run_gets_as_many_retries_as_its_limit(limit):
    builder = RunBuilder(backoff_limit=limit)
    while not builder.run.terminal:
        lose(builder)
    assert builder.run.attempt == limit + 1


def test_a_run_that_the_server_fails_has_a_reason():
    builder = RunBuilder(backoff_limit=0)
    builder.claim()
    lost_at = builder.later(MINUTE).enforce_deadlines().run
    assert lost_at.completed_at == builder.now
    assert builder.error["detail"] == {
        "reason": "lease_expired",
        "attempts": 1,
        "lease_owner": "ann",
        "last_heartbeat_at": "2026-03-20T12:00:00.000Z",
        "last_event_id": 0,
    }
    assert builder.types == ["RUN_ERROR"]
    assert builder.payload()["code"] == "LEASE_EXPIRED"
    assert [ended.outcome for ended in builder.ended] == ["lease_expired"]


def test_a_timeout_ends_a_run_that_has_no_limit():
    builder = RunBuilder(timeout_seconds=10)
    builder.claim()
    assert builder.run.due_at == NOON + 10_000
    builder.later(10_000).enforce_deadlines()
    assert builder.error["code"] == "TIMEOUT"


def test_with_a_limit_a_timeout_counts_like_any_lost_attempt():
    builder = RunBuilder(timeout_seconds=10, backoff_limit=1)
    builder.claim()
    builder.later(10_000).enforce_deadlines()
    assert builder.run.status is RunStatus.PENDING
    builder.later(MINUTE).claim()
    builder.later(10_000).enforce_deadlines()
    assert builder.error["code"] == "TIMEOUT"
    assert [ended.outcome for ended in builder.ended] == ["timeout", "timeout"]


def test_a_renewal_does_not_postpone_a_timeout():
    builder = RunBuilder(timeout_seconds=90)
    fence = builder.claim()
    builder.later(50_000).renew(fence=fence)
    assert builder.run.due_at == NOON + 90_000


def test_a_run_without_a_lease_has_no_timeout():
    builder = RunBuilder(kind="agent", status=RunStatus.RUNNING, timeout_seconds=1)
    assert builder.run.due_at is None


def test_the_earliest_deadline_counts_even_if_it_is_enforced_late():
    builder = RunBuilder(timeout_seconds=10)
    builder.claim()
    builder.later(FOREVER).enforce_deadlines()
    assert builder.error["code"] == "TIMEOUT"


def test_a_run_can_be_released_without_a_backoff(builder):
    fence = builder.claim()
    builder.later(5).release(worker="ann", fence=fence, error=b'"no disk"', retry_after_ms=0)
    assert builder.claimable
    assert (builder.ended[0].outcome, builder.ended[0].error) == ("released", b'"no disk"')


def test_a_released_run_goes_back_after_a_backoff(builder):
    builder.claim()
    builder.release(worker="ann", dice=0.5)
    assert builder.run.available_at == NOON + 750


def test_a_release_of_the_last_attempt_fails_the_run():
    builder = RunBuilder(backoff_limit=0)
    builder.claim()
    builder.release(worker="ann", retry_after_ms=0)
    assert builder.error["code"] == "ATTEMPTS_EXHAUSTED"


def test_a_release_by_another_worker_is_refused(builder):
    builder.claim("ann")
    with pytest.raises(Error) as refused:
        builder.release(worker="ben")
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_release_of_a_run_without_a_lease_is_refused(builder):
    with pytest.raises(Error) as refused:
        builder.release()
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_renewal_without_a_length_uses_the_length_of_the_lease(builder):
    fence = builder.claim(lease_ms=30_000)
    builder.later(20_000).renew(fence=fence)
    assert (builder.run.lease_expires_at, builder.run.last_heartbeat_at) == (NOON + 50_000, NOON + 20_000)
    builder.renew(fence=fence, lease_ms=5_000)
    assert builder.run.lease_expires_at == NOON + 25_000
    builder.renew(fence=fence)
    assert builder.run.lease_expires_at == NOON + 25_000, "the last length counts"


def test_an_expired_lease_that_was_not_enforced_yet_can_be_renewed(builder):
    fence = builder.claim(lease_ms=10_000)
    assert builder.later(11_000).renew(fence=fence).accepted
    assert not builder.enforce_deadlines().accepted, "the deadline is enforced late"
    assert builder.run.status is RunStatus.RUNNING


def test_a_lost_lease_is_not_renewed_without_a_fence_and_refused_with_one(builder):
    fence = builder.claim()
    builder.later(MINUTE).enforce_deadlines()
    assert not builder.renew(worker="ann").accepted
    builder.later(MINUTE).claim("ben")
    assert not builder.renew(worker="ann").accepted
    with pytest.raises(Error) as refused:
        builder.renew(fence=fence)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_deadline_in_the_future_is_not_enforced(builder):
    assert not builder.enforce_deadlines().accepted
    builder.claim()
    held = builder.run
    assert not builder.later(MINUTE - 1).enforce_deadlines().accepted
    assert builder.run is held


def test_a_run_that_a_client_drives_without_a_lease_has_no_deadline():
    builder = RunBuilder(kind="agent", status=RunStatus.RUNNING)
    assert not builder.later(FOREVER).enforce_deadlines().accepted


def test_a_lease_that_expires_during_complete_still_completes(builder):
    fence = builder.claim()
    builder.later(MINUTE + 1)
    assert builder.complete(fence=fence).accepted
    assert not builder.enforce_deadlines().accepted


def test_a_complete_after_the_lease_was_lost_is_refused(builder):
    fence = builder.claim()
    builder.later(MINUTE).enforce_deadlines()
    with pytest.raises(Error) as refused:
        builder.complete(fence=fence)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_clock_that_steps_back_makes_no_negative_duration(builder):
    builder.claim()
    builder.later(-5_000).complete()
    assert builder.run.duration_ms == 0
    assert builder.run.updated_at == NOON
