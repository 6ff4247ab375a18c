"""The open loop: what it starts, what it counts, and when a server has recovered."""

import asyncio
import time

import pytest

from runstead.bench import BenchError, RateOptions, render_rate, run_rate
from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import register_worker
from runstead.bench.lifecycle import Plan
from runstead.bench.rate import (
    ACCEPTED,
    LIFECYCLE,
    NO_RETRY_AFTER,
    REFUSED_503,
    TIMEOUT,
    OpenLoop,
    Samples,
    Segment,
    _end,
)
from runstead.bench.rate_report import rate_report, recovered_after_s
from runstead.bench.rendering import now


@pytest.fixture
async def plan(deployment, key):
    connection = Connection(Target.from_url(deployment.url))
    headers = connection.target.headers(key)
    worker = await register_worker(connection, "demo", headers, kind="bench")
    connection.close()
    return Plan.build(key_headers=headers, worker=worker, project_id="p-1")


async def test_lifecycles_start_at_the_rate_and_each_is_counted(deployment, plan):
    connection = Connection(Target.from_url(deployment.url))
    start_ns = time.perf_counter_ns()
    loop = OpenLoop(start_ns, (Segment("load", 200.0, 0.2),), processes=1)
    samples = await loop.run([(connection, plan)])
    assert list(samples.what).count(0) == 40
    assert list(samples.what).count(LIFECYCLE) == 40
    planned = [at for at, what in zip(samples.planned_ns, samples.what, strict=True) if what == 0]
    assert sorted(planned) == [number * 5_000_000 for number in range(40)]
    assert all(run["status"] == "completed" for run in deployment.runs.values())


async def test_an_answer_that_comes_late_counts_from_the_planned_start(deployment, plan):
    """All lifecycles are planned for the past: a generator that counted from the send would show short latencies."""
    connection = Connection(Target.from_url(deployment.url))
    late_ns = 60 * 10**9
    loop = OpenLoop(time.perf_counter_ns() - late_ns, (Segment("load", 10.0, 1.0),), processes=1)
    samples = await loop.run([(connection, plan)])
    creates = [took for took, what in zip(samples.took_ns, samples.what, strict=True) if what == 0]
    assert min(creates) > late_ns - 10**9


@pytest.mark.parametrize(
    ("status", "head", "end"),
    [
        (202, b"HTTP/1.1 202 Accepted\r\n\r\n", ACCEPTED),
        (503, b"HTTP/1.1 503 X\r\nRetry-After: 1\r\n\r\n", REFUSED_503),
        (503, b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", NO_RETRY_AFTER),
    ],
)
def test_a_refusal_without_retry_after_is_counted_on_its_own(status, head, end):
    assert _end(status, 202, head) == end


SEGMENTS = (Segment("before", 10, 1), Segment("load", 100, 2), Segment("after", 10, 3))


def samples_of(*rows):
    samples = Samples()
    for at_s, took_ms, what, end in rows:
        samples.add(int(at_s * 1e9), int(took_ms * 1e6), what, end)
    return samples


def test_figures_count_each_request_in_the_segment_that_planned_it():
    samples = samples_of(
        (0.5, 10, 0, ACCEPTED),
        (1.5, 20, 0, ACCEPTED),
        (1.5, 30, 3, ACCEPTED),
        (1.5, 100, LIFECYCLE, ACCEPTED),
        (1.6, 2, 0, REFUSED_503),
        (1.7, 3, 0, NO_RETRY_AFTER),
        (1.8, 10_000, 0, TIMEOUT),
    )
    report = rate_report(("http://x",), now(), 1, SEGMENTS, samples)
    load = report.segments[1]
    assert (load.planned, load.accepted_per_s, load.completed_per_s) == (4, 0.5, 0.5)
    assert (load.accepted.count, load.accepted.p99_ms) == (2, 30.0)
    assert (load.refused.status_503, load.refused.without_retry_after, load.refused.creates) == (1, 1, 2)
    assert (load.refused.latency.max_ms, load.timeouts) == (3.0, 1)
    text = render_rate(report)
    assert "load" in text
    assert "Retry-After" in text


def test_recovery_is_the_end_of_the_last_window_that_is_not_normal():
    normal = [(at / 10, 10, 0, ACCEPTED) for at in range(60)]
    assert recovered_after_s(SEGMENTS, samples_of(*normal)) == 0.0
    slow = samples_of(*normal, (4.2, 400, 0, ACCEPTED))
    assert recovered_after_s(SEGMENTS, slow) == 1.5
    refused = samples_of(*normal, (4.9, 1, 0, REFUSED_503))
    assert recovered_after_s(SEGMENTS, refused) == 2.0
    never = samples_of(*normal, (5.9, 1, 0, REFUSED_503))
    assert recovered_after_s(SEGMENTS, never) is None


async def test_a_whole_measurement_in_processes_of_their_own(deployment, key):
    options = RateOptions(
        urls=(deployment.url,),
        key=key,
        project="demo",
        rate=100,
        seconds=0.3,
        recover_rate=40,
        before_seconds=0.2,
        recover_seconds=0.5,
        processes=2,
    )
    report = await asyncio.to_thread(run_rate, options)
    assert [each.planned for each in report.segments] == [8, 30, 20]
    assert sum(each.lost + each.timeouts for each in report.segments) == 0


def test_a_rate_must_be_above_zero(key):
    with pytest.raises(BenchError, match="must be above 0"):
        run_rate(RateOptions(urls=("http://127.0.0.1:1",), key=key, project="demo", rate=0))
