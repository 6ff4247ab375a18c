"""Token buckets refill evenly, and remember a bounded number of names."""

from hypothesis import given, strategies as st

from runstead.core.token_buckets import TokenBuckets


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_bucket_is_full_at_first_and_refills_up_to_its_capacity():
    clock = Clock()
    buckets = TokenBuckets(10, clock)
    assert buckets.tokens("a", 5, 2) == 5
    buckets.set("a", -1)
    clock.now += 1.5
    assert buckets.tokens("a", 5, 2) == 2
    clock.now += 100
    assert buckets.tokens("a", 5, 2) == 5


def test_a_clock_that_is_set_back_takes_nothing_away():
    clock = Clock()
    buckets = TokenBuckets(10, clock)
    buckets.set("a", 3)
    clock.now -= 50
    assert buckets.tokens("a", 5, 2) == 3


def test_the_names_that_changed_first_are_forgotten():
    buckets = TokenBuckets(2, Clock())
    for name in ("a", "b", "a", "c"):
        buckets.set(name, 0)
    assert len(buckets) == 2
    assert [buckets.tokens(name, 5, 1) for name in ("a", "b", "c")] == [0, 5, 0]


@given(
    capacity=st.integers(1, 20), per_s=st.integers(1, 10), pauses=st.lists(st.integers(0, 3), max_size=200)
)
def test_at_most_the_capacity_and_what_refills_is_taken(capacity, per_s, pauses):
    clock = Clock()
    buckets, taken = TokenBuckets(1, clock), 0
    for pause in pauses:
        clock.now += pause
        if (tokens := buckets.tokens("a", capacity, per_s)) >= 1:
            buckets.set("a", tokens - 1)
            taken += 1
    assert taken <= capacity + per_s * sum(pauses)
