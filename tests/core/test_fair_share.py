"""Slots are shared so that greedy projects cannot starve a project that has none in use."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from runstead.core.queue.fair_share import FairShare, fair_share


def fill(most, held):
    """Every greedy project takes what it may, until none gets more."""
    while held.total() < most:
        share = fair_share(most, held, ())
        left = share.limit
        for project in list(held):
            taken = min(left, share.left(project))
            held[project] += taken
            left -= taken
        if left == share.limit:
            return


@given(greedy=st.integers(0, 8), most=st.integers(32, 256))
def test_up_to_eight_greedy_projects_leave_a_slot_for_a_project_that_has_none(greedy, most):
    held = Counter({f"greedy-{n}": 0 for n in range(greedy)})
    fill(most, held)
    assert held.total() < most
    assert fair_share(most, held, ()).left("newcomer") >= 1


def test_one_project_gets_an_eighth_of_the_slots():
    held = Counter({"only": 0})
    fill(128, held)
    assert held["only"] == 16


@pytest.mark.parametrize(("held", "left"), [(0, 3), (2, 1), (3, 0), (9, 0)])
def test_calls_in_progress_count_against_the_share(held, left):
    share = FairShare(10, per_project=3, held={"p": held})
    assert share.left("p") == left
    assert share.full == ([] if left else ["p"])
