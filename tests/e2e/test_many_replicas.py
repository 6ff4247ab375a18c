"""Two and four servers over one PostgreSQL, with `runstead race` and `runstead bench` over all of them.

Each run has one winner, no run is claimed twice, and each follower of any server sees every event once.
"""

import json
import threading

import httpx2
import pytest

from runstead.bench import BenchOptions, run_bench
from tests.support.server import KEY, PROJECT, Server, note, runstead

EVENTS = 60


@pytest.fixture(scope="module")
def servers(databases, tmp_path_factory):
    """Four servers."""
    name = databases.lease()
    made = []
    try:
        for number in range(4):
            directory = tmp_path_factory.mktemp(f"replica-{number}")
            made.append(Server(directory, databases.server.url(name)))
            made[-1].start()
        yield made
    finally:
        for server in made:
            server.kill()
        databases.give_back(name)


@pytest.fixture(params=[2, 4])
def replicas(servers, request):
    return servers[: request.param]


def spread(replicas):
    return [word for replica in replicas for word in ("--url", replica.url)]


def test_a_race_over_all_has_one_winner_for_each_run(replicas, tmp_path):
    arguments = ("race", *spread(replicas), "--key", KEY, "--runs", "12", "--callers", "16", "--json")
    code, stdout, stderr = runstead(*arguments, cwd=tmp_path, seconds=60)
    assert (code, stderr) == (0, ""), stdout
    report = json.loads(stdout)
    assert (report["violations"], report["url"]) == ([], ", ".join(each.url for each in replicas))
    assert sum(report["winners"].values()) == 12


def test_under_a_bench_over_all_no_run_is_claimed_twice_and_none_is_left(replicas, tmp_path):
    """If two callers claimed the same run, the server would refuse one of them, and bench would count an error."""
    options = BenchOptions(
        urls=tuple(each.url for each in replicas),
        key=KEY,
        project=PROJECT,
        concurrency=12,
        seconds=1.5,
        warm_up_seconds=0.2,
        floor_seconds=0.2,
    )
    report = run_bench(options)
    assert report.errors.kinds == []
    assert report.lifecycles > 0
    with replicas[-1].api() as api:
        left = [
            run
            for run in api.get("/runs", target="task:bench", limit=100)["data"]
            if run["status"] != "completed"
        ]
        assert left == []


def test_concurrent_claims_at_all_replicas_give_every_run_to_one_worker(replicas):
    """Each replica claims until no run is left. The runs were created at one replica."""
    target = f"task:shared-{len(replicas)}"
    with replicas[0].api() as api:
        project_id = api.project_id()
        made = {api.create(project_id, target)["run_id"] for _ in range(40)}
    claimed = []

    def claim_all(replica):
        with replica.api() as api:
            worker = api.register(f"{target}-{replica.directory.name}".replace("task:", ""))
            body = {"lease_duration_seconds": 300, "targets": [target], "max_runs": 3}
            while set(claimed) != made:
                runs = api.post(f"/agent-workers/workers/{worker}/claim", body)["runs"]
                claimed.extend(run["run_id"] for run in runs)
                assert all(run["attempt"] == 1 for run in runs)

    claiming = [threading.Thread(target=claim_all, args=(each,)) for each in replicas for _ in range(2)]
    for each in claiming:
        each.start()
    for each in claiming:
        each.join(60)
        assert not each.is_alive()
    assert sorted(claimed) == sorted(made)


def test_followers_at_all_replicas_see_every_event_once(replicas):
    """Events are appended at all replicas in turn. Followers of each replica see every event once, in order, to the end."""
    with replicas[0].api() as api:
        run_id = api.create(api.project_id())["run_id"]
    seen = [[] for _ in range(2 * len(replicas))]
    opened = [threading.Event() for _ in seen]

    def follow(number):
        replica = replicas[number % len(replicas)]
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx2.stream(
            "GET", f"{replica.url}/runs/{run_id}/stream", headers=headers, timeout=30
        ) as stream:
            for line in stream.iter_lines():
                if line.startswith("id:"):
                    seen[number].append(int(line[3:]))
                    opened[number].set()

    following = [threading.Thread(target=follow, args=(number,)) for number in range(len(seen))]
    apis = [replica.api() for replica in replicas]
    try:
        apis[0].append(run_id, [note(0)])
        for each in following:
            each.start()
        for each in opened:
            assert each.wait(60)  # all of them follow before the rest is appended
        for number in range(1, EVENTS):
            apis[number % len(apis)].append(run_id, [note(number)])
        apis[-1].complete(run_id)
        for each in following:
            each.join(60)
            assert not each.is_alive()
    finally:
        for api in apis:
            api.__exit__()
    assert seen == [list(range(1, EVENTS + 2))] * len(seen)


def test_a_cancel_at_one_replica_reaches_the_channel_of_a_worker_at_another(replicas):
    here, there = replicas[0], replicas[-1]
    target = f"task:held-{len(replicas)}"
    with here.api() as api, there.api() as other:
        run_id = api.create(api.project_id(), target)["run_id"]
        worker = api.register(f"channel-{len(replicas)}")
        assert api.claim(worker, target)["run_id"] == run_id
        where = f"{here.url}/agent-workers/workers/{worker}/channel?event=run_cancelled"
        with httpx2.stream("GET", where, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            other.post(f"/runs/{run_id}/cancel", {})
            found = next(line for line in lines if line.startswith("data:"))
    assert json.loads(found[5:]) == {"run_id": run_id, "attempt": 1}
