"""The counters of a batch, which transactions change."""

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Changed, Tally, admit, cancel, counted, followed_up
from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transitions import MOVES

BATCH = Batch("b5a1c1e0-0000-4000-8000-000000000000", "p", 0)
steps = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(RunStatus)), max_size=40)


def run(seq, status, at, started_at=None, batch_id=BATCH.id):
    return Run(
        *("uid", "p", f"run-{seq}", "task", status, "project", "p", f"run-{seq}", 0, at),
        seq=seq,
        batch_id=batch_id,
        started_at=started_at,
    )


def with_runs(count):
    """A batch of so many pending runs, and these."""
    runs = {seq: run(seq, RunStatus.PENDING, 0) for seq in range(count)}
    tally = Tally()
    for one in runs.values():
        tally.note(None, one)
    return counted(BATCH, tally.moved["p", BATCH.id, 0]), runs


def apply(batch, tally):
    for moved in tally.moved.values():
        batch = counted(batch, moved)
    return batch


@given(steps, st.lists(st.booleans(), min_size=40, max_size=40))
def test_counters_match_the_runs_however_changes_are_grouped_into_transactions(moves, cuts):
    batch, runs = with_runs(5)
    tally, ends = Tally(), []
    for at, ((seq, status), cut) in enumerate(zip(moves, cuts, strict=False), 1):
        old = runs[seq]
        if status in MOVES[old.status]:
            runs[seq] = run(seq, status, at)
            tally.note(old, runs[seq])
            ends += [at] if runs[seq].terminal else []
        if cut:
            batch, tally = apply(batch, tally), Tally()
    batch = apply(batch, tally)
    statuses = [one.status for one in runs.values()]
    assert batch.counts == tuple(statuses.count(status) for status in RunStatus)
    done = all(one.terminal for one in runs.values())
    assert batch.completed_at == (ends[-1] if done else None)


@given(steps, st.integers(1, 5))
def test_counters_that_are_spread_over_slots_add_up_to_the_same(moves, slots):
    _, runs = with_runs(5)
    spread, whole = Tally(slots), Tally()
    for seq, status in moves:
        old, runs[seq] = runs[seq], run(seq, status, 1)
        for tally in (spread, whole):
            tally.note(old, runs[seq])
    sums = [sum(counts) for counts in zip(*(one.counts for one in spread.moved.values()), strict=True)]
    assert sums == [count for one in whole.moved.values() for count in one.counts]
    assert {slot for _, _, slot in spread.moved} <= set(range(slots))


def test_a_change_without_a_new_status_or_without_a_batch_changes_no_counter():
    tally = Tally()
    tally.note(run(1, RunStatus.RUNNING, 0), run(1, RunStatus.RUNNING, 1))
    tally.note(None, run(2, RunStatus.PENDING, 0, batch_id=None))
    assert tally.moved == {}


def test_a_batch_started_with_the_earliest_start_of_its_runs():
    batch, runs = with_runs(3)
    tally = Tally()
    for seq, started_at in ((0, 7), (1, 5), (2, 6)):
        tally.note(runs[seq], run(seq, RunStatus.RUNNING, 9, started_at))
    assert apply(batch, tally).started_at == 5


def test_a_batch_is_cancelled_once_and_accepts_no_more_runs():
    batch, _ = with_runs(1)
    admit(batch)
    off = cancel(batch, now=3, reason="enough")
    assert (off.accepted, off.batch.status, off.batch.cancel_reason) == (True, "cancelling", "enough")
    assert cancel(off.batch, now=4, reason=None) == Changed(off.batch, accepted=False)
    with pytest.raises(Error, match="accepts no more runs: it is cancelling"):
        admit(off.batch)


def test_only_a_completed_batch_gets_a_follow_up_run_and_only_once():
    batch, _ = with_runs(1)
    waiting = replace(batch, on_complete=b"{}")
    assert not followed_up(waiting, now=1).accepted
    done = replace(waiting, completed_at=1)
    first = followed_up(done, now=2)
    assert (done.follow_up_due, first.accepted, first.batch.follow_up_due) == (True, True, False)
    assert not replace(done, cancel_requested_at=1).follow_up_due
    assert done.follow_up_id == first.batch.follow_up_id != ""
