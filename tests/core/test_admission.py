"""New work is refused by its expected wait: the rule, and a simulated server under twice its capacity."""

from collections import deque

import pytest
from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.admission import Bursts, CommitWait, LoopLag

GROUP = limits.writer_group_max
COMMAND_S, COMMIT_S = 0.0004, 0.002


def capacity():
    """Commands per second in full groups."""
    return GROUP / (GROUP * COMMAND_S + COMMIT_S)


class Simulated:
    """A server that commits groups of the first commands that wait. Times are simulated seconds."""

    def __init__(self, wait_s_max):
        self.wait, self.wait_s_max = CommitWait(GROUP), wait_s_max
        self.queue, self.waits, self.refused, self.free_at = deque(), [], 0, 0.0

    def commit_until(self, now):
        while self.queue and (began := max(self.free_at, self.queue[0])) <= now:
            group = [self.queue.popleft() for _ in range(min(GROUP, len(self.queue)))]
            self.free_at = began + len(group) * COMMAND_S + COMMIT_S
            self.waits += [(at, self.free_at - at) for at in group]
            self.wait.ended(len(group), self.free_at, more=bool(self.queue))

    def arrive(self, now):
        self.commit_until(now)
        if self.wait.expected_s(len(self.queue), now) > self.wait_s_max:
            self.refused += 1
            return
        self.queue.append(now)
        self.wait.began(now)

    def load(self, rate, since, until):
        at = since
        while at < until:
            self.arrive(at)
            at += 1 / rate


@pytest.mark.parametrize("times", [2, 5, 20])
def test_at_many_times_the_capacity_nine_tenths_of_it_are_served_in_time(times):
    server = Simulated(limits.admission_wait_s_max)
    server.load(times * capacity(), 0.0, 10.0)
    served = [wait for at, wait in server.waits if at + wait < 10]
    assert len(served) >= 0.9 * 10 * capacity()
    assert max(served) < 0.25
    assert server.refused > 0


def test_by_the_number_of_waiting_commands_alone_every_command_waits_for_seconds():
    """The control: what the bound on the queue's length allows."""
    server = Simulated(limits.writer_queue_max * COMMAND_S)
    server.load(2 * capacity(), 0.0, 10.0)
    assert max(wait for _, wait in server.waits) > 1


def test_after_the_overload_nothing_is_refused_and_waits_are_short():
    server = Simulated(limits.admission_wait_s_max)
    server.load(2 * capacity(), 0.0, 5.0)
    refused = server.refused
    server.load(0.5 * capacity(), 5.2, 10.0)
    server.commit_until(20)
    assert server.refused == refused
    assert max(wait for at, wait in server.waits if at > 5.2) < 0.05


def test_below_the_capacity_nothing_is_refused():
    server = Simulated(limits.admission_wait_s_max)
    server.load(0.9 * capacity(), 0.0, 10.0)
    assert server.refused == 0


def test_a_burst_after_single_commands_is_accepted():
    """A commit of one command takes almost as long as one of sixty-four."""
    wait, now = CommitWait(GROUP), 0.0
    for _ in range(100):
        wait.began(now)
        now += 0.005
        wait.ended(1, now, more=False)
    wait.began(now)
    assert wait.expected_s(4 * GROUP, now) < limits.admission_wait_s_max


def test_a_store_that_commits_nothing_refuses_once_more_than_a_group_waits():
    wait = CommitWait(GROUP)
    wait.began(0.0)
    assert wait.expected_s(GROUP - 1, 60.0) == 0.0
    assert wait.expected_s(GROUP, 60.0) >= 60.0


@given(
    st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5), st.booleans()), max_size=30),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
    st.floats(0, 5),
)
def test_the_expected_wait_grows_with_the_queue_and_is_never_negative(groups, ahead, more, later):
    wait, now = CommitWait(GROUP), 0.0
    for commands, took, waits in groups:
        wait.began(now)
        now += took
        wait.ended(commands, now, more=waits)
    wait.began(now)
    near, far = (wait.expected_s(number, now + later) for number in (ahead, ahead + more))
    assert 0.0 <= near <= far


def test_one_late_callback_is_no_lag_and_several_are():
    lag = LoopLag()
    for late_s in (0.0, 2.0, 0.0, 0.0):
        lag.measured(late_s, 1.0)
        assert lag.seconds == 0.0
    for late_s in (0.2, 0.3, 0.25):
        lag.measured(late_s, 0.8)
    assert lag.seconds == 0.2
    lag.measured(-0.001, 1.0)
    assert lag.seconds == 0.0


def test_a_caller_has_one_burst_until_it_was_calm():
    bursts = Bursts()
    assert bursts.admits("ada", 0.1, 0.0)
    assert bursts.admits("ada", 0.1, 0.9)
    assert not bursts.admits("ada", 0.11, 0.9)
    assert bursts.admits("bob", 0.1, 0.9)
    for now in (1.0, 3.0, 7.9, 12.8):  # never calm for 5 s
        assert not bursts.admits("ada", 0.1, now)
    assert bursts.admits("ada", 0.1, 17.9)


def test_a_loop_that_waits_for_the_processor_is_not_overloaded():
    lag = LoopLag()
    for _ in range(5):
        lag.measured(0.5, 0.3)
    assert lag.seconds == 0.0
