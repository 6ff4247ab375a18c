"""A parent that waits for a child: the child is marked, the parent waits, and the deadlines loop resumes it."""

import pytest
from hypothesis import given, settings, strategies as st

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transitions import NO_FENCE

from .run_builder import MINUTE, RunBuilder

ENDS = ("completed", "failed", "cancelled")


def end(child, how):
    child.cancel() if how == "cancelled" else child.complete(how)


class Pair:
    """A parent and its child, with the steps of a server."""

    def __init__(self):
        self.parent, self.child = RunBuilder(run_id="parent"), RunBuilder(run_id="child")
        self.fence = self.parent.claim()

    def mark(self):
        self.child.take(transitions.mark_awaited(self.child.run, now=self.child.now))

    def wait(self, **more):
        return self.parent.wait("event", call="run:child", child="child", fence=self.fence, **more)

    def resume_parent(self):
        """The second step of the deadlines loop."""
        resumed = self.parent.take(
            transitions.resume_parent(self.parent.run, now=self.parent.now, child=self.child.run)
        )
        if resumed.accepted:
            self.child.take(transitions.clear_awaited(self.child.run))
        return resumed

    def enforce_deadlines(self):
        """All steps of the deadlines loop, if the child is due."""
        due = self.child.run.due_at
        if due is not None and due <= self.child.now:
            self.child.enforce_deadlines()
            if self.child.run.terminal and self.child.run.awaited_at is not None:
                self.resume_parent()

    def later(self, ms):
        self.parent.later(ms)
        self.child.later(ms)


@pytest.mark.parametrize("how", ENDS)
def test_the_end_of_an_awaited_child_is_due_at_once_and_resumes_the_parent(how):
    pair = Pair()
    pair.mark()
    assert pair.child.run.due_at is None
    assert pair.wait(release=True).ended.outcome == "parked"
    end(pair.child, how)
    assert pair.child.run.due_at == pair.child.now
    pair.enforce_deadlines()
    run = pair.parent.run
    assert (run.status, run.waiting_run_id, run.attempts_lost) == (RunStatus.RUNNING, None, 0)
    assert pair.parent.claimable
    value = pair.parent.payload()["value"]
    assert (value["type"], value["tool_call_id"]) == ("run", "run:child")
    assert value["result"] == {"run_id": "child", "status": how}
    assert (pair.child.run.awaited_at, pair.child.run.due_at) == (None, None)


def test_a_run_that_is_not_awaited_is_never_due_after_its_end(builder):
    builder.complete()
    assert builder.run.due_at is None


def test_marking_twice_or_after_the_end_changes_nothing():
    pair = Pair()
    pair.mark()
    before = pair.child.run
    pair.mark()
    assert pair.child.run is before
    pair.child.complete()
    before = pair.child.run
    pair.mark()
    assert pair.child.run is before


def test_marking_a_run_as_awaited_changes_nothing_visible():
    pair = Pair()
    before = pair.child.run
    pair.later(MINUTE)
    pair.mark()
    assert (pair.child.run.updated_at, pair.child.run.status) == (before.updated_at, before.status)


def test_a_parent_that_waits_for_another_run_or_for_none_is_not_resumed():
    pair = Pair()
    pair.mark()
    pair.parent.wait("event", call="run:other", child="other")
    pair.child.complete()
    before = pair.parent.run
    pair.enforce_deadlines()
    assert pair.parent.run is before
    assert pair.child.run.awaited_at > pair.child.now


def test_an_ended_parent_is_not_resumed():
    pair = Pair()
    pair.mark()
    pair.wait()
    pair.parent.cancel()
    pair.child.complete()
    pair.enforce_deadlines()
    assert pair.child.run.due_at is None


def test_a_failed_resume_of_the_parent_is_retried_with_growing_pauses():
    pair = Pair()
    pair.mark()
    pair.child.complete()
    retries = 0
    for _ in range(24 * 60 * 6):
        pair.later(10_000)
        before = pair.child.run
        pair.enforce_deadlines()
        retries += pair.child.run is not before
    assert 5 < retries < 20
    pair.wait()
    pair.later(2 * 24 * 60 * MINUTE)
    pair.enforce_deadlines()
    assert pair.parent.run.status is RunStatus.RUNNING


def test_a_wait_for_a_child_is_not_answered_by_a_resume():
    pair = Pair()
    pair.mark()
    pair.wait()
    with pytest.raises(
        Error, match="waits for the end of the run child: complete or cancel that run"
    ) as refused:
        pair.parent.resume(kind="event", call="run:child")
    assert refused.value.code == "TOOL_RESULT_CONFLICT"


def test_a_timer_of_the_same_wait_ends_it_first():
    pair = Pair()
    pair.mark()
    pair.wait(resume_at=pair.parent.now + MINUTE)
    pair.later(MINUTE)
    pair.parent.enforce_deadlines()
    assert (pair.parent.run.status, pair.parent.run.waiting_run_id) == (RunStatus.RUNNING, None)
    pair.child.complete()
    before = pair.parent.run
    pair.enforce_deadlines()
    assert pair.parent.run is before


def test_a_cancelled_child_with_a_lease_resumes_its_parent_at_once_and_stops_later():
    pair = Pair()
    pair.child.claim(lease_ms=MINUTE)
    pair.mark()
    pair.wait()
    pair.child.cancel()
    pair.enforce_deadlines()
    assert pair.parent.run.status is RunStatus.RUNNING
    assert pair.child.run.due_at == pair.child.now + MINUTE
    pair.later(MINUTE)
    pair.enforce_deadlines()
    assert (pair.child.run.cancel_stopped_at, pair.child.run.due_at) == (pair.child.now, None)


def test_a_deleted_child_resumes_its_parent():
    pair = Pair()
    pair.mark()
    pair.wait()
    pair.resume_parent()  # the deleted child, as it was loaded before: not ended
    assert pair.parent.payload()["value"]["result"] == {"run_id": "child", "status": "deleted"}


def test_a_parent_without_room_in_its_log_fails(monkeypatch):
    pair = Pair()
    pair.mark()
    pair.wait()
    pair.child.complete()
    monkeypatch.setattr(limits, "events_per_run_max", 1)
    pair.enforce_deadlines()
    assert pair.parent.error["code"] == "EVENT_LOG_FULL"


STEP = st.sampled_from(
    ("mark", "wait", "wait and die", "end", "enforce_deadlines", "resume_parent", "second", "minute")
)


@settings(max_examples=200)
@given(st.lists(STEP, max_size=14), st.sampled_from(ENDS), st.booleans())
def test_no_parent_waits_for_an_ended_child_whatever_happens_between_two_steps(steps, how, release):
    """The child is marked before the parent waits and is read again after that, unless the server crashes in
    between. Everything else happens at any time or not at all.
    """
    pair = Pair()
    marked = False
    for step in steps:
        parent, child = pair.parent.run, pair.child.run
        if step == "mark":
            pair.mark()
            marked = marked or not child.terminal
        elif step.startswith("wait") and marked and parent.status is RunStatus.RUNNING:
            resumed = child.terminal and child.awaited_at is None
            pair.fence = pair.fence if parent.lease_token else NO_FENCE
            pair.wait(release=release)
            if child.terminal and (resumed or step == "wait"):
                pair.resume_parent()
        elif step == "end" and not child.terminal:
            end(pair.child, how)
        elif step == "enforce_deadlines":
            pair.enforce_deadlines()
        elif step == "resume_parent" and child.terminal:
            pair.resume_parent()
        elif step in ("second", "minute"):
            pair.later(1_000 if step == "second" else MINUTE)
    if not pair.child.run.terminal:
        end(pair.child, how)
    for _ in range(4):
        due = pair.child.run.due_at
        if due is not None:
            pair.later(max(due - pair.child.now, 0))
            pair.enforce_deadlines()
    assert pair.parent.run.status is RunStatus.RUNNING
