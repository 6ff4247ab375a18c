import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import MINUTE, NOON, Story

FOREVER = 10_000_000_000


def lose(story):
    """Claim the run, let the lease run out, and wait until the backoff is over."""
    story.claim()
    story.later(MINUTE).referee()
    return story.later(MINUTE * 6)


def test_a_claim_is_an_attempt_with_a_lease_and_a_token(story):
    fence = story.claim("ann", lease_ms=30_000)
    run = story.run
    assert run.status is RunStatus.RUNNING
    assert (run.attempt, run.lease_owner, run.lease_token) == (1, "ann", fence.token)
    assert (run.lease_expires_at, run.due_at) == (NOON + 30_000, NOON + 30_000)
    assert (run.started_at, run.attempt_started_at, run.last_heartbeat_at) == (NOON, NOON, NOON)


def test_a_run_that_is_held_is_claimed_by_nobody_else(story):
    story.claim()
    assert not story.claimable
    assert not story.later(FOREVER).claimable, "not before its lease was taken away"


def test_a_run_that_ended_or_waits_is_not_claimable():
    for end in ("completed", "failed", "cancelled"):
        story = Story()
        story.complete(end)
        assert not story.later(FOREVER).claimable
    waiting = Story()
    waiting.wait()
    assert not waiting.later(FOREVER).claimable


def test_a_run_is_not_claimable_before_it_is_due():
    story = Story(available_at=NOON + 500)
    assert not story.claimable
    assert story.later(500).claimable


def test_a_lost_lease_puts_the_run_back_after_a_backoff(story):
    story.claim()
    story.later(MINUTE).referee(dice=0.0)
    run = story.run
    assert (run.status, run.lease_token, run.lease_expires_at) == (RunStatus.PENDING, None, None)
    assert run.available_at == story.now + 500
    assert (run.attempt, run.attempts_lost) == (1, 1)
    (ended,) = story.ended
    assert (ended.attempt, ended.lease_owner, ended.outcome) == (1, "ann", "lease_expired")
    assert (ended.started_at, ended.ended_at) == (NOON, NOON + MINUTE)
    assert story.log == []


def test_the_next_attempt_keeps_when_the_run_started(story):
    lose(story).claim("ben")
    assert (story.run.attempt, story.run.lease_owner) == (2, "ben")
    assert (story.run.started_at, story.run.attempt_started_at) == (NOON, story.now)


def test_a_run_gets_three_more_attempts_where_no_limit_is_given(story):
    for _ in range(3):
        lose(story)
        assert story.run.status is RunStatus.PENDING
    lose(story)
    assert story.run.status is RunStatus.FAILED
    assert story.error["code"] == "LEASE_EXPIRED"
    assert story.run.attempt == 4


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_a_run_gets_as_many_more_attempts_as_its_limit_says(limit):
    story = Story(backoff_limit=limit)
    while not story.run.terminal:
        lose(story)
    assert story.run.attempt == limit + 1


def test_a_run_that_the_server_ends_says_why():
    story = Story(backoff_limit=0)
    story.claim()
    lost_at = story.later(MINUTE).referee().run
    assert lost_at.completed_at == story.now
    assert story.error["detail"] == {
        "reason": "lease_expired",
        "attempts": 1,
        "lease_owner": "ann",
        "last_heartbeat_at": "2026-03-20T12:00:00.000Z",
        "last_event_id": 0,
    }
    assert story.types == ["RUN_ERROR"]
    assert story.payload()["code"] == "LEASE_EXPIRED"
    assert [ended.outcome for ended in story.ended] == ["lease_expired"]


def test_a_timeout_ends_a_run_that_has_no_limit():
    story = Story(timeout_seconds=10)
    story.claim()
    assert story.run.due_at == NOON + 10_000
    story.later(10_000).referee()
    assert story.error["code"] == "TIMEOUT"


def test_a_timeout_is_an_attempt_like_any_other_where_a_limit_is_given():
    story = Story(timeout_seconds=10, backoff_limit=1)
    story.claim()
    story.later(10_000).referee()
    assert story.run.status is RunStatus.PENDING
    story.later(MINUTE).claim()
    story.later(10_000).referee()
    assert story.error["code"] == "TIMEOUT"
    assert [ended.outcome for ended in story.ended] == ["timeout", "timeout"]


def test_renewing_does_not_put_off_a_timeout():
    story = Story(timeout_seconds=90)
    fence = story.claim()
    story.later(50_000).renew(fence=fence)
    assert story.run.due_at == NOON + 90_000


def test_a_run_that_nobody_holds_has_no_timeout():
    story = Story(kind="agent", status=RunStatus.RUNNING, timeout_seconds=1)
    assert story.run.due_at is None


def test_a_timeout_that_came_first_is_told_even_where_the_referee_comes_late():
    story = Story(timeout_seconds=10)
    story.claim()
    story.later(FOREVER).referee()
    assert story.error["code"] == "TIMEOUT"


def test_a_released_run_goes_back_at_once_where_the_worker_says_so(story):
    fence = story.claim()
    story.later(5).release(worker="ann", fence=fence, error=b'"no disk"', retry_after_ms=0)
    assert story.claimable
    assert (story.ended[0].outcome, story.ended[0].error) == ("released", b'"no disk"')


def test_a_released_run_goes_back_after_a_backoff(story):
    story.claim()
    story.release(worker="ann", dice=0.5)
    assert story.run.available_at == NOON + 750


def test_a_release_of_the_last_attempt_fails_the_run():
    story = Story(backoff_limit=0)
    story.claim()
    story.release(worker="ann", retry_after_ms=0)
    assert story.error["code"] == "ATTEMPTS_EXHAUSTED"


def test_a_release_by_another_worker_is_refused(story):
    story.claim("ann")
    with pytest.raises(Error) as refused:
        story.release(worker="ben")
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_release_of_a_run_that_nobody_holds_is_refused(story):
    with pytest.raises(Error) as refused:
        story.release()
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_renewal_lasts_as_long_as_the_lease_unless_told_otherwise(story):
    fence = story.claim(lease_ms=30_000)
    story.later(20_000).renew(fence=fence)
    assert (story.run.lease_expires_at, story.run.last_heartbeat_at) == (NOON + 50_000, NOON + 20_000)
    story.renew(fence=fence, lease_ms=5_000)
    assert story.run.lease_expires_at == NOON + 25_000
    story.renew(fence=fence)
    assert story.run.lease_expires_at == NOON + 25_000, "the last length counts"


def test_a_lease_that_nobody_has_taken_away_can_be_renewed_after_its_end(story):
    fence = story.claim(lease_ms=10_000)
    assert story.later(11_000).renew(fence=fence).accepted
    assert not story.referee().accepted, "the referee comes too late"
    assert story.run.status is RunStatus.RUNNING


def test_a_lost_lease_is_not_renewed_without_a_fence_and_refused_with_one(story):
    fence = story.claim()
    story.later(MINUTE).referee()
    assert not story.renew(worker="ann").accepted
    story.later(MINUTE).claim("ben")
    assert not story.renew(worker="ann").accepted
    with pytest.raises(Error) as refused:
        story.renew(fence=fence)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_the_referee_leaves_a_run_alone_whose_time_has_not_come(story):
    assert not story.referee().accepted
    story.claim()
    held = story.run
    assert not story.later(MINUTE - 1).referee().accepted
    assert story.run is held


def test_a_client_that_drives_a_run_without_a_lease_is_left_alone():
    story = Story(kind="agent", status=RunStatus.RUNNING)
    assert not story.later(FOREVER).referee().accepted


def test_a_lease_that_expires_during_complete_still_completes(story):
    fence = story.claim()
    story.later(MINUTE + 1)
    assert story.complete(fence=fence).accepted
    assert not story.referee().accepted


def test_a_complete_that_comes_after_the_lease_was_taken_away_is_refused(story):
    fence = story.claim()
    story.later(MINUTE).referee()
    with pytest.raises(Error) as refused:
        story.complete(fence=fence)
    assert refused.value.code == "ATTEMPT_SUPERSEDED"


def test_a_clock_that_steps_back_makes_no_negative_duration(story):
    story.claim()
    story.later(-5_000).complete()
    assert story.run.duration_ms == 0
    assert story.run.updated_at == NOON
