"""A server at twice the rate that it sustains, measured by an open loop."""

import asyncio

import pytest

from runstead.bench import BenchOptions, RateOptions, run_bench, run_rate
from tests.support.server import KEY, Server

pytestmark = pytest.mark.long  # it measures rates for 25 seconds


async def test_at_twice_the_sustained_rate_the_rest_is_refused_at_once_and_the_server_recovers(tmp_path):
    server = Server(tmp_path, tmp_path / "runstead.db").start()
    try:
        address = {"urls": (server.url,), "key": KEY, "project": "default"}
        closed = BenchOptions(**address, concurrency=64, seconds=4, floor_seconds=0.1, processes=1)
        sustained = (await asyncio.to_thread(run_bench, closed)).lifecycles_per_s
        options = RateOptions(**address, rate=2 * sustained, seconds=6, recover_rate=sustained / 5)
        report = await asyncio.to_thread(run_rate, options)
    finally:
        server.terminate()
    _, load, _ = report.segments
    assert load.refused.status_503 > 0
    assert load.refused.without_retry_after == 0
    assert (load.timeouts, load.lost, report.errors) == (0, 0, {})
    # Other programs share the machine of a test: the figures of a quiet one are in docs/overload.md.
    assert load.accepted_per_s >= sustained / 2
    assert report.recovered_after_s is not None
    assert report.recovered_after_s <= 5
