import asyncio
import json
import time

import pytest

from runstead.bench import BenchError, BenchOptions, render_bench, run_bench
from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import register_worker
from runstead.bench.lifecycle import EVENT_BYTES, Caller, Plan, progress_event
from runstead.bench.load import Phase, default_processes
from runstead.bench.tally import HEALTHZ, REQUESTS, Tally


def options(deployment, key, **changes):
    short = {"concurrency": 4, "seconds": 0.4, "warm_up_seconds": 0.1, "floor_seconds": 0.2}
    return BenchOptions(**{"urls": (deployment.url,), "key": key, "project": "demo", **short, **changes})


@pytest.fixture
async def plan(deployment, key):
    connection = Connection(Target.from_url(deployment.url))
    headers = connection.target.headers(key)
    worker = await register_worker(connection, "demo", headers, kind="bench")
    connection.close()
    return Plan.build(key_headers=headers, worker=worker, project_id="p-1")


@pytest.fixture
async def connections(deployment):
    several = [Connection(Target.from_url(deployment.url)) for _ in range(3)]
    yield several
    for connection in several:
        connection.close()


@pytest.mark.parametrize("step", range(10))
def test_an_event_has_two_hundred_bytes(step):
    assert len(json.dumps(progress_event(step), separators=(",", ":"))) == EVENT_BYTES


async def test_one_lifecycle_is_four_requests_that_finish_one_run(deployment, plan, connections):
    deployment.requests.clear()
    now = time.perf_counter_ns()
    tally = Tally(now, now + 60 * 10**9)
    caller = Caller(connections[0], plan, tally)
    await caller._lifecycle()
    paths = [path for _, path, _, _ in deployment.requests]
    assert paths == [
        "/runs",
        "/agent-workers/workers/w-1/claim",
        "/runs/run_1/events",
        "/runs/run_1/complete",
    ]
    assert deployment.runs["run_1"]["status"] == "completed"
    assert len(deployment.events["run_1"]) == 11
    assert {name: len(samples) for name, samples in tally.latencies_ns.items()} == {
        "create": 1, "claim": 1, "append": 1, "complete": 1, HEALTHZ: 0,
    }  # fmt: skip
    _, _, headers, body = deployment.requests[2]
    assert headers["x-lease-token"] == "lease-run_1"
    assert "attempt" not in json.loads(body)
    assert json.loads(deployment.requests[3][3])["attempt"] == 1


async def test_callers_are_spread_over_the_replicas(deployment, key, serve):
    async def other(reader, writer):
        others.append(writer)
        await deployment.handle(reader, writer)

    others = []
    urls = (deployment.url, await serve(other))
    report = await asyncio.to_thread(
        run_bench, options(deployment, key, urls=urls, concurrency=5, processes=2)
    )
    assert report.url == ", ".join(urls)
    assert report.errors.count == 0
    assert (len(others), deployment.connections) == (2, 5 + 1)


async def test_a_claim_without_a_lease_token_fences_by_attempt(deployment, plan, connections):
    original = deployment.claim

    def claim(targets):
        return {name: value for name, value in original(targets).items() if name != "lease_token"}

    deployment.claim = claim
    deployment.requests.clear()
    caller = Caller(connections[0], plan, Tally(0, 1))
    await caller._lifecycle()
    _, _, headers, body = deployment.requests[2]
    assert "x-lease-token" not in headers
    assert json.loads(body)["attempt"] == 1


async def test_callers_finish_their_lifecycles_and_leave_no_run_open(deployment, plan, connections):
    measured = await Phase(health_checks=False, warm_up_s=0.0, seconds=0.2).run(
        [(each, plan) for each in connections]
    )
    tally = measured.tally
    assert tally.errors == {}
    assert tally.lifecycles > 0
    assert all(run["status"] == "completed" for run in deployment.runs.values())
    assert all(abs(len(tally.latencies_ns[name]) - tally.lifecycles) <= len(connections) for name in REQUESTS)


async def test_errors_are_counted_by_request_and_kind_and_end_with_the_window(deployment, plan, connections):
    deployment.fault = "nothing claimable"
    measured = await Phase(health_checks=False, warm_up_s=0.0, seconds=0.1).run(
        [(each, plan) for each in connections]
    )
    ((key_, (count, sample)),) = measured.tally.errors.items()
    assert key_ == ("claim", "no run")
    assert count >= 3
    assert "no run was claimable" in sample
    assert measured.tally.lifecycles == 0


async def test_a_whole_bench_in_processes_of_their_own(deployment, key, tmp_path):
    asked = []

    def measure_updates(url, concurrency, seconds):
        asked.append((url, concurrency, seconds))
        return 12345.67

    chosen = options(deployment, key, processes=2, floor_directory=tmp_path)
    report = await asyncio.to_thread(run_bench, chosen, measure_updates)
    assert report.errors.count == 0
    assert report.lifecycles_per_s == pytest.approx(report.lifecycles / 0.4, abs=0.1)
    assert report.requests_per_s == pytest.approx(4 * report.lifecycles_per_s, rel=0.2)
    assert report.requests.complete.count > 0
    assert (
        report.requests.complete.p50_ms <= report.requests.complete.p99_ms <= report.requests.complete.max_ms
    )
    assert report.floors.healthz_requests_per_s > 0
    assert report.floors.engine_updates_per_s == 12345.7
    ((url, concurrency, seconds),) = asked
    assert url.startswith(f"sqlite:///{tmp_path}/runstead-bench-")
    assert (concurrency, seconds) == (4, 0.2)
    assert list(tmp_path.iterdir()) == []
    # Two processes of two callers each, beside the connection that looked up the project.
    assert deployment.connections == 4 + 1
    decoded = json.loads(render_bench(report, json=True))
    assert list(decoded["requests"]) == list(REQUESTS)
    assert {"create", "claim", "append", "complete", "lifecycles"} <= set(render_bench(report).split())


async def test_the_engines_baseline_is_measured_in_the_given_database(deployment, key):
    asked = []

    def measure_updates(url, concurrency, seconds):
        asked.append((url, concurrency, seconds))
        return 7.0

    chosen = options(deployment, key, floor_database="postgresql:///runs")
    report = await asyncio.to_thread(run_bench, chosen, measure_updates)
    assert asked == [("postgresql:///runs", 4, 0.2)]
    assert report.floors.engine_updates_per_s == 7.0


async def test_without_an_engine_its_baseline_is_null_and_errors_are_shown(deployment, key):
    deployment.fault = "nothing claimable"
    report = await asyncio.to_thread(run_bench, options(deployment, key))
    assert report.floors.engine_updates_per_s is None
    assert report.errors.kinds[0].request == "claim"
    assert report.errors.count == sum(each.count for each in report.errors.kinds) > 0
    assert report.requests.complete.p50_ms is None
    text = render_bench(report)
    assert "not measured" in text
    assert "no run" in text


async def test_a_bench_that_cannot_start_reports_the_reason(deployment, key):
    with pytest.raises(BenchError, match="answered 401"):
        await asyncio.to_thread(run_bench, options(deployment, "vf_other_key"))
    with pytest.raises(BenchError, match="not an http or https URL"):
        run_bench(options(deployment, key, urls=("localhost:8720",)))
    with pytest.raises(BenchError, match="between 1 and concurrency"):
        run_bench(options(deployment, key, concurrency=2, processes=3))
    with pytest.raises(BenchError, match="above 0"):
        run_bench(options(deployment, key, seconds=0))


def test_processes_leave_a_core_for_the_server(monkeypatch):
    monkeypatch.setattr("runstead.bench.load.usable_cores", lambda: 4)
    assert [default_processes(callers) for callers in (1, 32, 33, 96, 500)] == [1, 1, 2, 3, 3]
    monkeypatch.setattr("runstead.bench.load.usable_cores", lambda: 1)
    assert default_processes(500) == 1
