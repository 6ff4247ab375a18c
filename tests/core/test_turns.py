"""Turns of concurrency keys: whatever the backlogs are, no key waits longer than one round."""

from collections import Counter

from hypothesis import given, strategies as st

from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy, Turn
from runstead.core.queue.turns import cyclic, in_turn, served, take_in_turn
from runstead.core.runs.run import KEYED, Run, RunStatus

TARGET = "task:t"
backlogs = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 6), min_size=1)


def run(seq, key=None, priority=0, at=0):
    return Run(
        uid=str(seq),
        project_id="p",
        run_id=f"run-{seq}",
        kind="task",
        status=RunStatus.PENDING,
        owner_kind="project",
        owner_id="p",
        root_run_id=f"run-{seq}",
        created_at=0,
        updated_at=0,
        seq=seq,
        target=TARGET,
        available_at=at,
        concurrency_key=key,
        priority=priority - KEYED if key else priority,
    )


def claims(backlog, limit, per_key=None):
    """Claim until nothing is left; runs never end. Yields the keys of each claim."""
    queue = [run(seq, key) for seq, key in enumerate((k for k, n in backlog.items() for _ in range(n)), 1)]
    last, running = "", Counter()
    while queue:
        slots = ConcurrencySlots.from_occupancies(
            "p", [Occupancy(ConcurrencyLimit(TARGET, None, per_key), 0)]
        )
        turns = [
            Turn(TARGET, key, running[key]) for key in cyclic({one.concurrency_key for one in queue}, last)
        ]
        for turn in turns:
            slots.note_running("p", turn)
        taken = take_in_turn(queue, turns, slots, limit)
        if not taken:
            return
        last = served(turns, queue, taken)[TARGET]
        running.update(one.concurrency_key for one in taken)
        queue = [one for one in queue if one not in taken]
        yield [one.concurrency_key for one in taken]


@given(backlogs, st.integers(1, 4))
def test_between_two_runs_of_a_key_every_other_key_with_a_backlog_gets_one(backlog, limit):
    order = [key for claimed in claims(backlog, limit) for key in claimed]
    assert Counter(order) == backlog
    left = Counter(backlog)
    for place, key in enumerate(order):
        left[key] -= 1
        later = order[place + 1 :]
        if key in later:
            between = set(later[: later.index(key)])
            assert between == {other for other, count in left.items() if count and other != key}


@given(backlogs, st.integers(1, 4), st.integers(1, 3))
def test_no_key_gets_more_than_its_limit(backlog, limit, per_key):
    order = Counter(key for claimed in claims(backlog, limit, per_key) for key in claimed)
    assert order == {key: min(count, per_key) for key, count in backlog.items()}


@given(
    st.lists(st.tuples(st.sampled_from((None, "a", "b")), st.integers(-2, 2), st.integers(0, 3)), max_size=9)
)
def test_every_run_is_in_the_order_once_and_those_without_a_key_in_theirs(given_runs):
    runs = [run(seq, *each) for seq, each in enumerate(given_runs, 1)]
    others = [one for one in runs if one.concurrency_key is None]
    keyed = [one for one in runs if one.concurrency_key is not None]
    order = list(in_turn(others, keyed, [Turn(TARGET, "a", 0), Turn(TARGET, "b", 0)]))
    assert sorted(one.seq for one in order) == [one.seq for one in runs]
    alone = [one for one in order if one.concurrency_key is None]
    assert alone == sorted(others, key=lambda one: (-one.priority, one.available_at, one.seq))
