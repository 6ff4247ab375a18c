"""Rename and delete runs."""

import pytest
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.transitions import IfMatch

from .run_builder import RunBuilder


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value.code


def test_names_are_set_if_the_version_matches():
    builder = RunBuilder()
    if_match = IfMatch(frozenset({builder.run.version}))
    builder.rename(if_match, title="Inventory", labels=b'{"a":"b"}')
    assert (builder.run.title, builder.run.labels) == ("Inventory", b'{"a":"b"}')
    assert refused(builder.rename, if_match, title="Other") == "PRECONDITION_FAILED"
    assert refused(builder.rename, None, title="Other") == "PRECONDITION_REQUIRED"
    builder.rename(title=None)
    assert (builder.run.title, builder.run.labels) == (None, b'{"a":"b"}')


def test_the_same_names_again_write_nothing():
    builder = RunBuilder(title="A")
    run = builder.run
    assert builder.rename(title="A").duplicate
    assert builder.rename().duplicate
    assert builder.run is run


def test_an_ended_run_can_be_renamed_and_its_deadline_stays():
    builder = RunBuilder()
    builder.claim()
    builder.cancel()
    due = builder.run.due_at
    builder.rename(title="Was it")
    assert (builder.run.title, builder.run.due_at) == ("Was it", due)
    assert due is not None


def test_only_an_ended_run_without_descendants_is_deleted():
    builder = RunBuilder()
    assert refused(transitions.delete, builder.run) == "RUN_NOT_TERMINAL"
    builder.complete()
    assert refused(transitions.delete, replace(builder.run, descendants_total=1)) == "RUN_HAS_CHILDREN"
    transition = transitions.delete(builder.run)
    assert (transition.deletes, transition.family_total, transition.family_active) == (True, -1, 0)
