import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from story import NOON, Story, event


def test_a_cancel_ends_the_run_and_its_family(story):
    called_off = story.cancel("not needed")
    assert called_off.accepted
    assert called_off.cancels_family
    assert story.run.status is RunStatus.CANCELLED
    assert story.error == {"message": "Run cancelled", "code": "CANCELLED"}
    assert story.payload() == {"type": "RUN_ERROR", "message": "Run cancelled", "code": "CANCELLED"}
    assert (story.run.cancel_requested_at, story.run.cancel_reason) == (NOON, "not needed")
    assert story.run.cancel_stopped_at == NOON, "nobody worked on it"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_cancel_of_a_run_that_has_ended_changes_nothing(story, status):
    story.complete(status)
    ended = story.run
    assert not story.cancel().accepted
    assert story.run is ended


def test_a_worker_learns_of_a_cancel_when_it_renews(story):
    fence = story.claim()
    story.cancel()
    assert not story.renew(fence=fence).accepted


def test_a_worker_learns_of_a_cancel_when_it_appends(story):
    fence = story.claim()
    story.cancel()
    with pytest.raises(Error) as refused:
        story.append(event(), fence=fence)
    assert refused.value.code == "EVENT_RUN_TERMINAL"


def test_a_cancelled_run_is_stopped_when_its_worker_releases_it(story):
    fence = story.claim()
    story.cancel()
    assert story.run.cancel_stopped_at is None
    story.later(2_000).release(fence=fence)
    assert story.run.cancel_stopped_at == NOON + 2_000
    assert story.run.status is RunStatus.CANCELLED


def test_a_cancelled_run_is_stopped_when_its_worker_completes_it_in_vain(story):
    fence = story.claim()
    story.cancel()
    assert not story.later(2_000).complete(fence=fence).accepted
    assert story.run.cancel_stopped_at == NOON + 2_000
    assert story.types == ["RUN_ERROR"]


def test_a_cancelled_run_is_stopped_when_its_lease_ends(story):
    story.claim(lease_ms=10_000)
    story.cancel()
    assert story.run.due_at == NOON + 10_000
    story.later(10_000).referee()
    assert (story.run.cancel_stopped_at, story.run.due_at) == (NOON + 10_000, None)


def test_a_stop_that_is_told_twice_keeps_its_time(story):
    fence = story.claim()
    story.cancel()
    story.later(1_000).release(fence=fence)
    stopped = story.run
    story.later(1_000).release(fence=fence)
    assert story.run.cancel_stopped_at == NOON + 1_000
    assert story.run is stopped, "nothing is written"


def test_a_release_of_a_completed_run_writes_nothing(story):
    fence = story.claim()
    story.complete(fence=fence)
    ended = story.run
    story.release(fence=fence)
    assert story.run is ended


def test_a_waiting_run_that_is_cancelled_waits_no_more():
    story = Story()
    story.wait(expires_at=NOON + 50)
    story.cancel()
    assert (story.run.waiting_reason, story.run.wait_expires_at, story.run.due_at) == (None, None, None)
