import pytest

from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus

from .run_builder import NOON, RunBuilder, event


def test_a_cancel_ends_the_run_and_its_family(builder):
    called_off = builder.cancel("not needed")
    assert called_off.accepted
    assert called_off.cancels_family
    assert builder.run.status is RunStatus.CANCELLED
    assert builder.error == {"message": "Run cancelled", "code": "CANCELLED"}
    assert builder.payload() == {"type": "RUN_ERROR", "message": "Run cancelled", "code": "CANCELLED"}
    assert (builder.run.cancel_requested_at, builder.run.cancel_reason) == (NOON, "not needed")
    assert builder.run.cancel_stopped_at == NOON, "no worker held it"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_cancel_of_a_run_that_has_ended_changes_nothing(builder, status):
    builder.complete(status)
    ended = builder.run
    assert not builder.cancel().accepted
    assert builder.run is ended


def test_a_cancel_is_reported_to_the_worker_at_its_next_renewal(builder):
    fence = builder.claim()
    builder.cancel()
    assert not builder.renew(fence=fence).accepted


def test_a_cancel_is_reported_to_the_worker_at_its_next_append(builder):
    fence = builder.claim()
    builder.cancel()
    with pytest.raises(Error) as refused:
        builder.append(event(), fence=fence)
    assert refused.value.code == "EVENT_RUN_TERMINAL"


def test_a_cancelled_run_is_stopped_when_its_worker_releases_it(builder):
    fence = builder.claim()
    builder.cancel()
    assert builder.run.cancel_stopped_at is None
    builder.later(2_000).release(fence=fence)
    assert builder.run.cancel_stopped_at == NOON + 2_000
    assert builder.run.status is RunStatus.CANCELLED


def test_a_cancelled_run_is_stopped_when_its_worker_tries_to_complete_it(builder):
    fence = builder.claim()
    builder.cancel()
    assert not builder.later(2_000).complete(fence=fence).accepted
    assert builder.run.cancel_stopped_at == NOON + 2_000
    assert builder.types == ["RUN_ERROR"]


def test_a_cancelled_run_is_stopped_when_its_lease_ends(builder):
    builder.claim(lease_ms=10_000)
    builder.cancel()
    assert builder.run.due_at == NOON + 10_000
    builder.later(10_000).enforce_deadlines()
    assert (builder.run.cancel_stopped_at, builder.run.due_at) == (NOON + 10_000, None)


def test_a_repeated_stop_keeps_the_time_of_the_first(builder):
    fence = builder.claim()
    builder.cancel()
    builder.later(1_000).release(fence=fence)
    stopped = builder.run
    builder.later(1_000).release(fence=fence)
    assert builder.run.cancel_stopped_at == NOON + 1_000
    assert builder.run is stopped, "nothing is written"


def test_a_release_of_a_completed_run_writes_nothing(builder):
    fence = builder.claim()
    builder.complete(fence=fence)
    ended = builder.run
    builder.release(fence=fence)
    assert builder.run is ended


def test_a_cancelled_waiting_run_waits_no_more():
    builder = RunBuilder()
    builder.wait(expires_at=NOON + 50)
    builder.cancel()
    assert (builder.run.waiting_reason, builder.run.wait_expires_at, builder.run.due_at) == (None, None, None)
