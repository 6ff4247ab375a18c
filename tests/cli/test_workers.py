"""`runstead workers …` against a server."""

from tests.support.until import until


def test_versions_show_which_ones_runs_still_need(cli, project_client):
    for version in ("v1", "v2"):
        made = project_client.workers.register("python", f"versions-{version}", version=version).worker
        assert made.version == version
        if version == "v1":
            assert "v1       in use  " in cli("workers", "versions").out
            run = project_client.runs.create("task:versions", pinned=True).run
            assert project_client.workers.claim(made.id, 60, targets=["task:versions"]).run is not None
    shown = cli("workers", "versions").out
    assert [line.split()[:4] for line in shown.splitlines() if line.startswith("v")] == [
        ["v1", "needed", "1", "1"],
        ["v2", "drained", "1", "0"],
    ]
    assert "v1 (pinned)" in cli("runs", "get", run.run_id).out
    assert [one["version"] for one in cli("workers", "versions", "--json").json if one["pinned"]] == ["v1"]
    assert "v2" in cli("workers", "list").out


def test_targets_are_listed_and_a_run_that_no_worker_serves_is_found(cli, project, project_client):
    target = {
        "target": "task:served",
        "description": "Counts\nmore",
        "validate_input": True,
        "input_schema": {},
    }
    project_client.workers.register("python", "one", targets=[target])
    shown = cli("workers", "targets", columns=200)
    assert shown.lines[1].split()[:2] == ["task:served", "1"]
    assert "Counts" in shown.lines[1]
    assert cli("workers", "targets", "--json").json[0]["validate_input"] is True
    project_client.runs.create("task:served", input=1)
    assert "workers" not in cli("doctor").out
    run = project_client.runs.create("task:lonely").run
    until(lambda: project_client.runs.get(run.run_id).unserved_since, "the run to be shown as unserved")
    assert "no online worker serves task:lonely" in cli("runs", "get", run.run_id, columns=200).out
    done = cli("doctor")
    assert f"warn  workers: no online worker serves task:lonely: the run {run.run_id}" in done.out
    assert "`runstead workers targets` shows what workers serve" in done.out
