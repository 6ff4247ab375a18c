"""`runstead runs bulk …`."""

import pytest


@pytest.fixture
def failed(cli, project_client):
    """Ids of two failed runs with a label of their own."""
    ids = [project_client.runs.create("task:bulk", labels={"bulk": "yes"}).run.run_id for _ in range(2)]
    for run_id in ids:
        project_client.runs.complete(run_id, "failed")
    return ids


def test_a_job_asks_shows_its_end_and_fails_if_a_run_refused(cli, project_client, failed):
    done = cli("runs", "bulk", "start", "retry", "--label", "bulk=yes", "--from-step", "failed", "--yes")
    assert done.code == 0
    assert done.out.split()[1:] == ["retry", "completed", "2", "of", "2"]
    job = done.out.split()[0]
    assert cli("runs", "bulk", "show", job).out == done.out
    assert cli("runs", "bulk", "stop", job).out == done.out
    retried = list(project_client.runs.iter(label="bulk:yes", status="pending"))
    assert {run.retry_of for run in retried} == set(failed)
    again = cli("runs", "bulk", "start", "retry", "--label", "bulk=yes", "--yes")
    assert again.code == 1
    assert "2 refused" in again.out
    assert "(RUN_NOT_TERMINAL)" in again.err
    project_client.bulk_jobs.create("cancel", label="bulk:yes")


def test_a_job_needs_a_filter_and_a_confirmation(cli, failed):
    refused = cli("runs", "bulk", "start", "cancel")
    assert refused.code == 2
    assert "choose the runs with at least one filter" in refused.err
    assert cli("runs", "bulk", "start", "cancel", "--status", "failed", "--from-step", "1").code == 2
    unconfirmed = cli("runs", "bulk", "start", "cancel", "--label", "bulk=yes", "--search", failed[0])
    assert unconfirmed.code != 0
    nothing = cli("runs", "bulk", "start", "delete", "--target", "task:of-no-run")
    assert nothing.err == "no matching runs\n"
    started = cli("runs", "bulk", "start", "delete", "--search", failed[0], "--yes", "--no-wait", "--json")
    assert '"action": "delete"' in started.out or '"action":"delete"' in started.out


def test_a_job_takes_the_filters_of_the_list_of_runs(cli, project_client):
    parent, other = (project_client.runs.create("task:bulk-parent").run.run_id for _ in range(2))
    child = project_client.runs.create("workflow:bulk-child", parent_run_id=parent).run.run_id
    listed = cli("runs", "list", "--parent", parent, "--kind", "workflow")
    assert (child in listed.out, other in listed.out) == (True, False)
    done = cli("runs", "bulk", "start", "cancel", "--parent", parent, "--kind", "workflow", "--yes")
    assert done.out.split()[1:] == ["cancel", "completed", "1", "of", "1"]
    roots = ("--root-only", "--kind", "task", "--target", "task:bulk-parent")
    assert cli("runs", "bulk", "start", "cancel", *roots, "--yes").out.split()[3:] == ["2", "of", "2"]
