import pytest

from runstead.core.errors import Error
from runstead.core.runs.transitions import NO_FENCE, Fence

from .run_builder import MINUTE, RunBuilder, event


def superseded(call, *args, **named):
    with pytest.raises(Error) as caught:
        call(*args, **named)
    return caught.value.code == "ATTEMPT_SUPERSEDED"


@pytest.fixture
def stale(builder):
    """The fence of an attempt that another one has followed."""
    fence = builder.claim()
    builder.later(MINUTE).enforce_deadlines()
    builder.later(MINUTE * 6).claim("ben")
    return fence


@pytest.mark.parametrize("by", ["both", "attempt", "token"])
def test_a_superseded_attempt_writes_nothing(builder, stale, by):
    fence = Fence(
        attempt=None if by == "token" else stale.attempt, token=None if by == "attempt" else stale.token
    )
    before = builder.run
    assert superseded(builder.append, event(), fence=fence)
    assert superseded(builder.complete, fence=fence)
    assert superseded(builder.wait, fence=fence)
    assert superseded(builder.renew, fence=fence)
    assert superseded(builder.release, fence=fence)
    assert builder.run is before


def test_a_fence_for_a_run_without_a_lease_is_refused(builder):
    assert superseded(builder.append, event(), fence=Fence(attempt=1))
    assert superseded(builder.append, event(), fence=Fence(attempt=0))
    assert superseded(builder.append, event(), fence=Fence(token=""))


def test_a_token_and_an_attempt_must_both_be_current(builder):
    fence = builder.claim()
    assert superseded(builder.append, event(), fence=Fence(2, fence.token))
    assert superseded(builder.append, event(), fence=Fence(1, "guessed"))


def test_the_current_attempt_writes_by_number_by_token_or_without(builder):
    fence = builder.claim()
    for fence_ in (fence, Fence(attempt=1), Fence(token=fence.token), NO_FENCE):
        builder.append(event(), fence=fence_)
    assert len(builder.log) == 4


def test_a_refusal_names_the_state_and_no_token(builder, stale):
    with pytest.raises(Error) as caught:
        builder.append(event(), fence=stale)
    assert "running" in caught.value.message
    assert stale.token not in caught.value.message


def test_the_last_worker_can_repeat_its_last_append_after_the_end():
    builder = RunBuilder()
    fence = builder.claim()
    builder.append(event(n=1), after=0, fence=fence)
    builder.complete(fence=fence)
    assert builder.append(event(n=1), after=0, fence=fence).duplicate
