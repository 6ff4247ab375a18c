"""Rates of tokens of models: what is used is taken once, and starts wait for what is missing."""

from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.budgets.budget import RunSpending
from runstead.core.budgets.counting import Spending, spend
from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy
from runstead.core.queue.rate import Bucket, BucketName, Rate, full_at, has_token_at, taken, tokens
from runstead.core.usage.price import PriceList
from runstead.core.usage.usage import Reported

rates = st.builds(
    Rate,
    st.integers(1, 200_000) | st.just(10**10),
    st.integers(1, 90) | st.just(86_400),
    unit=st.just("tokens"),
)
#: (ms until it, the tokens of a report): times go forward and back, since the clocks of replicas differ.
reports = st.lists(
    st.tuples(st.integers(-500, 90_000), st.integers(1, 300_000) | st.just(10**12)), max_size=30
)
NAME = BucketName("p", "task:t", "")


@given(rates, reports)
def test_what_is_used_while_runs_may_start_is_bounded_in_every_stretch_of_time(rate, steps):
    now, bucket, used = 1_000_000, Bucket(), []
    for step, count in steps:
        now += step
        left = tokens(rate, bucket, now)
        bucket = taken(rate, bucket, count, now)
        if left > 0:  # only then has a run started
            used.append((bucket.at, min(count, left)))  # the rest is over what was left
        else:
            assert has_token_at(rate, bucket) > bucket.at
    for first in range(len(used)):
        number = 0
        for at, count in used[first:]:
            number += count
            assert number * rate.period_ms <= rate.limit * (rate.period_ms + at - used[first][0])


@given(rates, st.integers(0, 10**13), st.integers(0, 10**12))
def test_a_debt_is_paid_back_to_the_millisecond(rate, count, at):
    bucket = taken(rate, Bucket(), count, at)
    token_at, full = has_token_at(rate, bucket), full_at(rate, bucket)
    assert tokens(rate, bucket, token_at) >= 1
    assert token_at == at or tokens(rate, bucket, token_at - 1) < 1
    assert tokens(rate, bucket, full) == rate.limit
    assert max(bucket.missing, token_at, full) < 1 << 63  # the integers of both engines
    if count * rate.period_ms <= limits.rate_missing_max:
        assert tokens(rate, bucket, at) == rate.limit - count


@given(st.lists(st.integers(0, 1_000)), st.none() | st.integers(0, 50_000))
def test_each_token_of_a_run_is_taken_once(reported, final):
    rate = Rate(100, 60, unit="tokens")
    spending = Spending(0, (), {}, PriceList(()), RunSpending(7), ((NAME, rate),))
    total = 0
    for count in reported:
        spent = spend(spending, "run-7", [Reported(input_tokens=count)])
        total += sum(one.tokens for one in spent.used)
        spending = spending.after(spent)
    assert total == sum(reported)
    if final is not None:
        spent = spend(spending, "run-7", [Reported(input_tokens=final)], final=True)
        total += sum(one.tokens for one in spent.used)
        assert total == max(final, sum(reported))  # nothing is given back


def test_a_claim_takes_nothing_from_buckets_of_tokens_and_starts_no_more_runs_than_there_are_tokens():
    limit = ConcurrencyLimit("task:t", rate=Rate(100, 60, unit="tokens"))
    slots = ConcurrencySlots.from_occupancies("p", [Occupancy(limit, 1)])
    assert slots.buckets("p", "task:t", None) == []
    for left, started in ((2, 2), (0, 0), (-50_000, 0)):
        slots = ConcurrencySlots.from_occupancies("p", [Occupancy(limit, 1)])
        slots.note_tokens("p", "task:t", left)
        assert [slots.take_slot("p", "task:t") for _ in range(3)].count(True) == started
