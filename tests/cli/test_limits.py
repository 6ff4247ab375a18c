"""`runstead limits …` against a server."""

import pytest

from runstead.sdk.models.project import Rate


@pytest.fixture
def limited(cli, project_client):
    assert cli("limits", "set", "task:render", "2").out == "task:render  2 at most, 0 running\n"
    assert cli("limits", "set", "project", "10").out == "project  10 at most, 0 running\n"


def test_a_limit_is_set_changed_and_deleted_without_affecting_others(cli, project_client, limited):
    project_client.runs.create("task:render")
    worker = project_client.workers.register("python", "w")
    assert (
        project_client.with_key(worker.token).workers.claim(worker.worker.id, 60, kinds=["task"]).run
        is not None
    )
    assert cli("limits", "set", "task:render", "0", "--json").json == {
        "target": "task:render",
        "max_running": 0,
        "max_running_per_key": None,
        "rate": None,
        "rate_left": None,
        "running": 1,
    }
    known = {one.target: one.max_running for one in project_client.limits.get().limits}
    assert known == {"task:render": 0, None: 10}
    assert cli("limits", "delete", "project").out == "project  deleted\n"
    assert cli("limits", "delete", "task:render", "--json").json == {"deleted": True, "target": "task:render"}
    assert cli("limits", "list").err == "no limits\n"


def test_a_limit_of_each_key_stands_beside_that_of_the_target(cli, project_client):
    assert cli("limits", "set", "task:a", "--per-key", "1").out == "task:a  1 of a key, 0 running\n"
    assert cli("limits", "set", "task:a", "5").out == "task:a  5 at most, 1 of a key, 0 running\n"
    [limit] = project_client.limits.get().limits
    assert (limit.max_running, limit.max_running_per_key) == (5, 1)
    shown = cli("limits", "set", "task:a", "--rate", "100/1m", "--rate-per-key").out
    assert shown == "task:a  5 at most, 1 of a key, 100/60s of a key, 0 running\n"
    cli("limits", "set", "task:a", "6")  # keeps the rate
    [limit] = project_client.limits.get().limits
    assert (limit.max_running, limit.rate) == (6, Rate(limit=100, period_seconds=60, per_key=True))
    assert "100/60s of a key" in cli("limits", "list").out
    shown = cli("limits", "set", "project", "--rate", "90000/1m", "--rate-unit", "tokens").out
    assert shown == "project  90000 tokens/60s, 0 running\n"
    [line] = [line for line in cli("limits", "list").lines if "tokens" in line]
    assert line.split()[-1] == "90000"  # left
    wrong_unit = ["--rate", "1/1m", "--rate-unit", "money"]
    for wrong in (
        ["--rate", "100"],
        ["--rate", "x/1m"],
        ["5", "--rate-per-key"],
        ["--rate-unit", "tokens"],
        wrong_unit,
        [],
    ):
        assert cli("limits", "set", "task:a", *wrong).code == 2
    run_id = cli("runs", "create", "task:a", "--concurrency-key", "ada", "--priority", "5").out.strip()
    run = project_client.runs.get(run_id)
    assert (run.concurrency_key, run.priority) == ("ada", 5)
    assert "concurrency key" in cli("runs", "get", run_id).out


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_list_shows_the_limits_and_what_runs(cli, limited, columns):
    shown = cli("limits", "list", columns=columns)
    assert [line.split() for line in shown.lines if "1m" not in line][-2:] == [
        *(["project", "0", "10"], ["task:render", "0", "2"]),
    ]
    assert len(cli("limits", "list", "--json").json) == 2


def test_an_invalid_limit_is_refused(cli, limited):
    unknown = cli("limits", "delete", "task:other")
    assert (unknown.code, unknown.out) == (1, "")
    assert "there are limits on: project, task:render" in unknown.err
    assert cli("limits", "set", "task:render", "-1").code in {1, 2}
    assert cli("limits", "set", "task:render", "many").code == 2
    assert cli("limits", "list", "--json").json[-1]["max_running"] == 2
