"""Token buckets: the bound of a rate holds for all times and takes, and nothing is lost to rounding."""

from hypothesis import given, strategies as st

from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy, rated_targets
from runstead.core.queue.rate import Bucket, Rate, full_at, has_token_at, refilled, taken, tokens

rates = st.builds(Rate, st.integers(1, 50) | st.just(1_000_000), st.integers(1, 90) | st.just(86_400))
#: Times go forward and back: the clocks of replicas differ.
tries = st.lists(st.tuples(st.integers(-500, 90_000), st.integers(1, 20)), max_size=40)


@given(rates, tries)
def test_a_rate_bounds_the_starts_of_every_stretch_of_time(rate, steps):
    now, bucket, starts = 1_000_000, Bucket(), []
    for step, wanted in steps:
        now += step
        count = min(wanted, tokens(rate, bucket, now))
        if count > 0:
            bucket = taken(rate, bucket, count, now)
            starts.append((bucket.at, count))
    for first in range(len(starts)):
        number = 0
        for at, count in starts[first:]:
            number += count
            elapsed_ms = at - starts[first][0]
            assert number * rate.period_ms <= rate.limit * (rate.period_ms + elapsed_ms)


@given(rates, st.integers(1, 100), st.integers(0, 10**9), st.integers(0, 10**7))
def test_the_next_token_and_the_full_bucket_come_in_their_millisecond(rate, count, at, later):
    bucket = taken(rate, Bucket(), count, at)
    for known in (bucket, refilled(rate, bucket, at + later)):
        token_at, full = has_token_at(rate, known), full_at(rate, known)
        assert tokens(rate, known, token_at) >= 1
        assert token_at == known.at or tokens(rate, known, token_at - 1) < 1
        assert tokens(rate, known, full) == rate.limit
        assert refilled(rate, known, full).missing == 0
        assert full == known.at or refilled(rate, known, full - 1).missing > 0


@given(rates, st.integers(0, 10**7), st.lists(st.integers(0, 1_000), max_size=20))
def test_looking_at_a_bucket_often_changes_nothing(rate, missing, steps):
    seen = bucket = Bucket(missing, 0)
    now = 0
    for step in steps:
        now += step
        seen = refilled(rate, seen, now)
    assert seen == refilled(rate, bucket, now)
    assert refilled(rate, seen, now - 5) == seen


def test_a_slot_and_a_token_are_taken_together():
    limits = [
        ConcurrencyLimit(None, rate=Rate(4, 1)),
        ConcurrencyLimit("task:a", 3, rate=Rate(9, 1)),
        ConcurrencyLimit("task:k", None, 1, Rate(9, 1, per_key=True)),
    ]
    slots = ConcurrencySlots.from_occupancies("p", [Occupancy(limit, 1) for limit in limits])
    for target, free in (("", 4), ("task:a", 5), ("task:k", 1)):
        slots.note_tokens("p", target, free)
    assert (slots.remaining("p", "task:a"), slots.remaining("p", "task:k")) == (2, 4)
    assert slots.remaining_without_key("p", "task:k") == 1
    assert [slots.take_slot("p", "task:a") for _ in range(3)] == [True, True, False]
    assert [slots.take_slot("p", "task:k") for _ in range(2)] == [True, False]
    assert [name[1:] for name in slots.buckets("p", "task:k", "ada")] in (
        [("", ""), ("task:k", "ada")],
        [("task:k", "ada"), ("", "")],
    )
    assert rated_targets(limits, ("agent",), ()) == [None]
    assert rated_targets(limits, ("task",), ("task:k",)) == [None, "task:k"]
