"""Priority and delay of runs, concurrency limits and their free slots, and round robin."""

import pytest
from hypothesis import given, strategies as st

from runstead.core.errors import Error
from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy
from runstead.core.queue.round_robin import interleave
from runstead.core.runs.run import RunStatus, in_queue

from .run_builder import NOON, RunBuilder, new_run


def test_a_delayed_run_is_claimable_once_it_is_due():
    builder = RunBuilder(available_at=NOON + 1_000)
    assert (builder.run.status, builder.run.available_at) == (RunStatus.PENDING, NOON + 1_000)
    assert not builder.later(999).claimable
    assert builder.later(1).claimable


def test_a_delay_in_the_past_means_now():
    assert RunBuilder(available_at=NOON - 1_000).run.available_at == NOON


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "agent"},
        {"kind": "agent", "status": RunStatus.RUNNING},
        {"kind": "agent", "status": RunStatus.RUNNING, "implementation_kind": "claude"},
    ],
)
def test_a_run_that_its_caller_drives_is_not_delayed(fields):
    with pytest.raises(Error, match="The caller drives this run") as refused:
        RunBuilder(available_at=NOON + 1_000, **fields)
    assert refused.value.code == "INVALID_REQUEST"


def test_a_pause_does_not_change_the_delay():
    builder = RunBuilder(available_at=NOON + 60_000)
    builder.pause()
    builder.later(1_000).unpause()
    assert builder.run.available_at == NOON + 60_000


def test_the_queue_is_ordered_by_priority_and_then_by_age():
    given_ = [(0, 5, 1), (7, 9, 2), (7, 3, 4), (7, 3, 3), (-100, 1, 5)]
    runs = [new_run(str(seq), priority=p, available_at=at, seq=seq) for p, at, seq in given_]
    assert [run.seq for run in sorted(runs, key=in_queue)] == [3, 4, 2, 1, 5]


def test_only_a_run_in_progress_counts_as_running():
    builder = RunBuilder()
    assert not builder.run.occupies
    builder.claim()
    assert builder.run.occupies
    builder.wait()
    assert not builder.run.occupies
    builder.resume()
    assert builder.run.occupies  # its worker holds it yet
    builder.complete()
    assert not builder.run.occupies


def test_a_resumed_run_without_a_lease_counts_once_it_is_claimed():
    builder = RunBuilder()
    builder.claim()
    builder.wait()
    builder.release()
    builder.resume()
    assert (builder.run.status, builder.run.occupies) == (RunStatus.RUNNING, False)
    builder.claim()
    assert builder.run.occupies


def test_a_run_that_its_caller_started_counts():
    assert RunBuilder(kind="agent", status=RunStatus.RUNNING).run.occupies


def occupancy(target, most, running):
    return Occupancy(ConcurrencyLimit(target, most), running)


def test_without_a_limit_the_slots_are_unlimited():
    slots = ConcurrencySlots.from_occupancies("p", [])
    assert slots.remaining("p", "task:a") is None
    assert all(slots.take_slot("p", "task:a") for _ in range(100))


def test_a_target_has_the_smaller_of_its_own_and_its_project_s_free_slots():
    slots = ConcurrencySlots.from_occupancies("p", [occupancy(None, 5, 2), occupancy("task:a", 2, 1)])
    assert (slots.remaining("p", "task:a"), slots.remaining("p", "task:b"), slots.remaining("p", None)) == (
        1,
        3,
        3,
    )
    assert slots.take_slot("p", "task:a")
    assert (slots.remaining("p", "task:a"), slots.remaining("p", "task:b")) == (0, 2)
    assert not slots.take_slot("p", "task:a")
    assert slots.remaining("q", "task:a") is None


def test_more_running_runs_than_the_limit_leave_zero_slots_and_not_fewer():
    slots = ConcurrencySlots.from_occupancies("p", [occupancy(None, 1, 4)])
    assert slots.remaining("p", "task:a") == 0
    assert not slots.take_slot("p", "task:a")


targets = st.sampled_from((None, "a", "b", "c"))


@given(
    st.dictionaries(targets, st.tuples(st.integers(0, 5), st.integers(0, 5))),
    st.lists(targets, max_size=30),
)
def test_no_limit_is_exceeded_and_no_run_is_held_back_without_need(limits, wanted):
    slots = ConcurrencySlots.from_occupancies(
        "p", [occupancy(name, most, running) for name, (most, running) in limits.items()]
    )
    running = {name: running for name, (_, running) in limits.items()}
    for target in wanted:
        full = [name for name in {None, target} & limits.keys() if running[name] >= limits[name][0]]
        assert slots.take_slot("p", target) == (not full)
        if not full:
            for name in {None, target} & limits.keys():
                running[name] += 1


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_every_queue_is_served_once_before_any_is_served_twice(lines):
    named = [
        [(number, value, place) for place, value in enumerate(line)] for number, line in enumerate(lines)
    ]
    served = list(interleave(named, lambda one: one[1]))
    assert sorted(served) == sorted(one for line in named for one in line)
    rounds = [place for _, _, place in served]
    assert rounds == sorted(rounds)
    for line in named:
        assert [one for one in served if one in line] == line
    for place in set(rounds):
        values = [value for _, value, of in served if of == place]
        assert values == sorted(values)
