import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import NewMessage

from .run_builder import NOON, RunBuilder, new_run


def test_a_new_run_is_its_own_root(builder):
    assert (builder.run.root_run_id, builder.run.parent_run_id, builder.run.path) == ("run_1", None, "/")


def test_a_new_run_is_queued_at_once(builder):
    assert builder.run.status is RunStatus.PENDING
    assert (builder.run.created_at, builder.run.started_at, builder.run.available_at) == (NOON, None, NOON)
    assert builder.claimable
    assert builder.log == []


def test_a_new_run_counts_once_in_its_ancestors(builder):
    assert (builder.last.family_total, builder.last.family_active) == (1, 1)


def test_an_agent_run_without_an_implementation_kind_is_not_queued():
    assert not RunBuilder(kind="agent").later(10_000_000).claimable


def test_an_agent_run_with_an_implementation_kind_is_queued():
    assert RunBuilder(kind="agent", implementation_kind="claude").claimable


@pytest.mark.parametrize("kind", ["task", "workflow", "eval"])
def test_every_run_of_another_kind_is_queued(kind):
    assert RunBuilder(kind=kind).claimable


def test_a_run_created_running_has_started():
    run = RunBuilder(kind="agent", status=RunStatus.RUNNING).run
    assert (run.status, run.started_at) == (RunStatus.RUNNING, NOON)


def test_a_child_gets_the_path_of_its_parent():
    root = RunBuilder(seq=7).run
    child = RunBuilder(run_id="run_2", parent=root).run
    grandchild = RunBuilder(run_id="run_3", parent=replace(child, seq=9)).run
    assert (child.parent_seq, child.parent_run_id, child.root_seq, child.path) == (7, "run_1", 7, "/7/")
    assert (grandchild.parent_run_id, grandchild.root_run_id) == ("run_2", "run_1")
    assert (grandchild.root_seq, grandchild.path) == (7, "/7/9/")


def test_a_cancelled_family_accepts_no_more_children(builder):
    builder.cancel()
    with pytest.raises(Error) as refused:
        RunBuilder(run_id="run_2", parent=builder.run, family_cancelled=True)
    assert refused.value.code == "PARENT_CANCELLED"


def test_the_depth_of_a_family_is_limited():
    parent = RunBuilder().run
    for depth in range(2, limits.family_depth_max + 1):
        parent = replace(RunBuilder(run_id=f"run_{depth}", parent=parent).run, seq=depth)
    with pytest.raises(Error) as refused:
        RunBuilder(run_id="one_too_deep", parent=parent)
    assert refused.value.code == "FAMILY_TOO_DEEP"


def test_an_agent_run_comes_with_its_message():
    message = NewMessage("m", "c", None)
    run = new_run(kind="agent")
    made = transitions.create(run, now=NOON, parent=None, family_cancelled=False, message=message)
    assert made.message is message


def test_the_second_step_of_a_start_stores_the_payload_and_starts_the_run():
    builder = RunBuilder(kind="agent")
    assert builder.start(b'{"messages":[]}').duplicate
    assert (builder.run.status, builder.run.started_at) == (RunStatus.RUNNING, NOON)
    assert builder.run.request_snapshot == b'{"messages":[]}'


def test_a_start_that_is_repeated_changes_nothing():
    builder = RunBuilder(kind="agent")
    builder.start(b'{"a":1}')
    assert builder.start(b'{"b":2}').run.request_snapshot == b'{"a":1}'
    assert builder.run.version == 2


def test_a_start_does_not_change_a_run_that_is_queued_for_workers():
    builder = RunBuilder(kind="agent", implementation_kind="claude")
    builder.start()
    assert builder.run.status is RunStatus.PENDING
    assert builder.claimable


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_start_that_comes_after_the_end_changes_nothing(status):
    builder = RunBuilder(kind="agent")
    builder.complete(status)
    ended = builder.run
    assert builder.start().duplicate
    assert builder.run is ended
