"""Naming a run, and deleting it once it is over."""

import pytest
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.transitions import Seen
from story import Story


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value.code


def test_names_are_set_at_the_version_that_was_seen():
    story = Story()
    seen = Seen(frozenset({story.run.version}))
    story.rename(seen, title="Inventory", labels=b'{"a":"b"}')
    assert (story.run.title, story.run.labels) == ("Inventory", b'{"a":"b"}')
    assert refused(story.rename, seen, title="Other") == "PRECONDITION_FAILED"
    assert refused(story.rename, None, title="Other") == "PRECONDITION_REQUIRED"
    story.rename(title=None)
    assert (story.run.title, story.run.labels) == (None, b'{"a":"b"}')


def test_the_same_names_again_write_nothing():
    story = Story(title="A")
    run = story.run
    assert story.rename(title="A").duplicate
    assert story.rename().duplicate
    assert story.run is run


def test_an_ended_run_may_be_named_and_its_deadline_stays():
    story = Story()
    story.claim()
    story.cancel()
    due = story.run.due_at
    story.rename(title="Was it")
    assert (story.run.title, story.run.due_at) == ("Was it", due)
    assert due is not None


def test_only_an_ended_run_without_runs_below_it_is_deleted():
    story = Story()
    assert refused(transitions.delete, story.run) == "RUN_NOT_TERMINAL"
    story.complete()
    assert refused(transitions.delete, replace(story.run, descendants_total=1)) == "RUN_HAS_CHILDREN"
    transition = transitions.delete(story.run)
    assert (transition.deletes, transition.family_total, transition.family_active) == (True, -1, 0)
