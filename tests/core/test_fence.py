import pytest

from runstead.core.errors import Error
from runstead.core.runs.transitions import NO_FENCE, Fence
from story import MINUTE, Story, event


def superseded(call, *args, **named):
    with pytest.raises(Error) as caught:
        call(*args, **named)
    return caught.value.code == "ATTEMPT_SUPERSEDED"


@pytest.fixture
def stale(story):
    """The fence of an attempt that another one has followed."""
    fence = story.claim()
    story.later(MINUTE).referee()
    story.later(MINUTE * 6).claim("ben")
    return fence


@pytest.mark.parametrize("by", ["both", "attempt", "token"])
def test_a_superseded_attempt_writes_nothing(story, stale, by):
    fence = Fence(
        attempt=None if by == "token" else stale.attempt, token=None if by == "attempt" else stale.token
    )
    before = story.run
    assert superseded(story.append, event(), fence=fence)
    assert superseded(story.complete, fence=fence)
    assert superseded(story.wait, fence=fence)
    assert superseded(story.renew, fence=fence)
    assert superseded(story.release, fence=fence)
    assert story.run is before


def test_a_fence_of_a_run_that_nobody_holds_is_refused(story):
    assert superseded(story.append, event(), fence=Fence(attempt=1))
    assert superseded(story.append, event(), fence=Fence(attempt=0))
    assert superseded(story.append, event(), fence=Fence(token=""))


def test_a_token_and_an_attempt_must_both_be_current(story):
    fence = story.claim()
    assert superseded(story.append, event(), fence=Fence(2, fence.token))
    assert superseded(story.append, event(), fence=Fence(1, "guessed"))


def test_the_current_attempt_writes_by_number_by_token_or_without(story):
    fence = story.claim()
    for given in (fence, Fence(attempt=1), Fence(token=fence.token), NO_FENCE):
        story.append(event(), fence=given)
    assert len(story.log) == 4


def test_a_refusal_names_the_state_and_no_token(story, stale):
    with pytest.raises(Error) as caught:
        story.append(event(), fence=stale)
    assert "running" in caught.value.message
    assert stale.token not in caught.value.message


def test_the_last_worker_may_repeat_its_last_append_after_the_end():
    story = Story()
    fence = story.claim()
    story.append(event(n=1), after=0, fence=fence)
    story.complete(fence=fence)
    assert story.append(event(n=1), after=0, fence=fence).duplicate
