"""The simulation behind docs/scale.md: what must hold of it whatever the costs are."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "bench" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scale"]


@pytest.fixture
def costs(scale):
    return scale.Costs(loop_ms=4.0, transaction_ms=1.0, command_ms=0.5, wal_bytes=10_000)


def test_a_station_is_as_busy_as_its_work(scale):
    simulation = scale.Simulation()
    station = scale.Station(simulation, 2)
    ended = []
    for seconds in (1.0, 3.0, 2.0):
        station.serve(seconds, lambda: ended.append(simulation.now))
    simulation.run(4.0)
    assert ended == [1.0, 3.0, 3.0]
    assert station.utilisation == pytest.approx(6 / 8)


def test_one_caller_takes_the_sum_of_what_each_step_costs(scale, costs):
    found = scale.Deployment(costs, shards=1, replicas=1, cores=1).callers(1, 2.0)
    lone_command_ms = 4.0 / 4 + 1.0 + 0.5 + costs.flush_ms + 10_000 / 4 / costs.wal_bytes_per_s * 1000
    assert found.percentile(0.5) == pytest.approx(lone_command_ms, rel=0.01)
    assert found.runs_per_s == pytest.approx(1000 / lone_command_ms / 4, rel=0.01)


def test_many_callers_share_transactions_and_are_limited_by_the_busiest_part(scale, costs):
    found = scale.Deployment(costs, shards=1, replicas=1, cores=4).callers(64, 2.0)
    assert found.loop > 0.99
    assert found.runs_per_s == pytest.approx(1000 / costs.loop_ms, rel=0.02)


def test_on_two_shared_cores_the_total_work_is_the_limit(scale, costs):
    found = scale.Deployment(costs, shards=1, replicas=1, cores=2, shared=2).callers(64, 2.0)
    at_most = 2_000 / (costs.loop_ms + 4 * costs.command_ms)
    assert 0.5 * at_most < found.runs_per_s <= min(at_most, 1000 / costs.loop_ms) * 1.01


@pytest.mark.parametrize(("replicas", "keeps_up"), [(1, False), (3, True)])
def test_replicas_decide_whether_a_shard_keeps_up(scale, costs, replicas, keeps_up):
    deployment = scale.Deployment(costs, shards=1, replicas=replicas, cores=8)
    assert deployment.arrivals(400, 2.0, projects=10).keeps_up is keeps_up


def test_the_script_prints_its_results():
    told = subprocess.run(
        [
            sys.executable,
            "-P",
            PATH,
            "--runs-per-minute",
            "6000",
            "--shards",
            "2",
            "--replicas",
            "2",
            "--seconds",
            "1",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "runs a minute ended" in told
    assert told.endswith("keeps up\n")
