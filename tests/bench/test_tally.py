import pickle
import random

import pytest

from runstead.bench.tally import Latency, Tally, percentile, summarise

MS = 1_000_000


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 50, 1), (1, 99, 1), (2, 50, 1), (3, 50, 2), (4, 50, 2), (100, 50, 50), (100, 99, 99), (101, 99, 100),
     (200, 99, 198), (1000, 99, 990), (10, 100, 10), (10, 1, 1)],
)  # fmt: skip
def test_a_percentile_is_the_nearest_rank(count, share, expected):
    assert percentile(range(1, count + 1), share) == expected


def test_a_percentile_is_not_exceeded_by_exactly_its_share():
    generator = random.Random(7)
    ordered = sorted(generator.randrange(10**9) for _ in range(5000))
    for share in (1, 50, 90, 99):
        value = percentile(ordered, share)
        assert sum(sample <= value for sample in ordered) >= share / 100 * len(ordered)
        assert sum(sample < value for sample in ordered) < share / 100 * len(ordered)


def test_a_summary_is_in_milliseconds():
    samples = [n * MS for n in range(200, 0, -1)]
    assert summarise(samples) == Latency(count=200, p50_ms=100.0, p99_ms=198.0, max_ms=200.0)
    assert summarise([1_234_567]) == Latency(count=1, p50_ms=1.235, p99_ms=1.235, max_ms=1.235)


def test_a_summary_without_samples_has_no_values():
    assert summarise([]) == Latency(count=0)


def test_only_answers_within_the_window_count():
    tally = Tally(100, 200)
    for answered_ns in (99, 100, 199, 200):
        tally.answered("claim", answered_ns, answered_ns)
        tally.lifecycle(answered_ns)
    assert list(tally.latencies_ns["claim"]) == [100, 199]
    assert tally.lifecycles == 2


def test_tallies_of_two_processes_merge():
    mine, other = Tally(0, 10), Tally(5, 15)
    mine.answered("create", 1, 11)
    mine.error("claim", "503", "first")
    other.answered("create", 6, 22)
    other.answered("complete", 6, 33)
    other.lifecycle(6)
    other.error("claim", "503", "second")
    other.error("append", "dropped", "closed")
    mine.merge(pickle.loads(pickle.dumps(other)))
    assert list(mine.latencies_ns["create"]) == [11, 22]
    assert list(mine.latencies_ns["complete"]) == [33]
    assert mine.lifecycles == 1
    assert mine.errors == {("claim", "503"): (2, "first"), ("append", "dropped"): (1, "closed")}
