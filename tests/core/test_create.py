import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import NewMessage
from story import NOON, Story, new_run


def test_a_new_run_is_its_own_root(story):
    assert (story.run.root_run_id, story.run.parent_run_id, story.run.path) == ("run_1", None, "/")


def test_a_new_run_waits_for_a_worker_from_the_start(story):
    assert story.run.status is RunStatus.PENDING
    assert (story.run.created_at, story.run.started_at, story.run.available_at) == (NOON, None, NOON)
    assert story.claimable
    assert story.log == []


def test_a_new_run_counts_once_in_its_ancestors(story):
    assert (story.last.family_total, story.last.family_active) == (1, 1)


def test_an_agent_run_without_an_implementation_kind_is_for_no_worker():
    assert not Story(kind="agent").later(10_000_000).claimable


def test_an_agent_run_with_an_implementation_kind_is_for_a_worker():
    assert Story(kind="agent", implementation_kind="claude").claimable


@pytest.mark.parametrize("kind", ["task", "workflow", "eval"])
def test_every_run_that_is_no_agent_run_is_for_a_worker(kind):
    assert Story(kind=kind).claimable


def test_a_run_created_running_has_started():
    run = Story(kind="agent", status=RunStatus.RUNNING).run
    assert (run.status, run.started_at) == (RunStatus.RUNNING, NOON)


def test_a_child_takes_its_place_below_its_parent():
    root = replace(Story().run, seq=7)
    child = Story(run_id="run_2", parent=root).run
    grandchild = Story(run_id="run_3", parent=replace(child, seq=9)).run
    assert (child.parent_seq, child.parent_run_id, child.root_seq, child.path) == (7, "run_1", 7, "/7/")
    assert (grandchild.parent_run_id, grandchild.root_run_id) == ("run_2", "run_1")
    assert (grandchild.root_seq, grandchild.path) == (7, "/7/9/")


def test_a_cancelled_family_gets_no_more_children(story):
    story.cancel()
    with pytest.raises(Error) as refused:
        Story(run_id="run_2", parent=story.run, family_cancelled=True)
    assert refused.value.code == "PARENT_CANCELLED"


def test_a_family_has_a_limit_to_its_depth():
    parent = Story().run
    for depth in range(2, limits.family_depth_max + 1):
        parent = replace(Story(run_id=f"run_{depth}", parent=parent).run, seq=depth)
    with pytest.raises(Error) as refused:
        Story(run_id="one_too_deep", parent=parent)
    assert refused.value.code == "FAMILY_TOO_DEEP"


def test_an_agent_run_comes_with_its_message():
    message = NewMessage("m", "c", None)
    run = new_run(kind="agent")
    made = transitions.create(run, now=NOON, parent=None, family_cancelled=False, message=message)
    assert made.message is message


def test_the_second_step_of_a_start_stores_the_payload_and_starts_the_run():
    story = Story(kind="agent")
    assert story.start(b'{"messages":[]}').duplicate
    assert (story.run.status, story.run.started_at) == (RunStatus.RUNNING, NOON)
    assert story.run.request_snapshot == b'{"messages":[]}'


def test_a_start_that_is_repeated_changes_nothing():
    story = Story(kind="agent")
    story.start(b'{"a":1}')
    assert story.start(b'{"b":2}').run.request_snapshot == b'{"a":1}'
    assert story.run.version == 2


def test_a_start_leaves_a_run_for_workers_to_its_worker():
    story = Story(kind="agent", implementation_kind="claude")
    story.start()
    assert story.run.status is RunStatus.PENDING
    assert story.claimable


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_start_that_comes_after_the_end_changes_nothing(status):
    story = Story(kind="agent")
    story.complete(status)
    ended = story.run
    assert story.start().duplicate
    assert story.run is ended
