"""`runstead workers …` against a server."""


def test_versions_show_which_ones_runs_still_need(cli, project_client):
    for version in ("v1", "v2"):
        made = project_client.workers.register("python", f"versions-{version}", version=version).worker
        assert made.version == version
        if version == "v1":
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
