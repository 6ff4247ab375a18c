"""`runstead budgets …` against a server."""


def test_a_budget_is_created_listed_changed_and_deleted(cli, project_client):
    options = ("--tokens", "10", "--cost", "2.5", "--then", "pause", "--name", "Spend", "--period", "month")
    budget_id = cli("budgets", "create", "target", "task:spend", *options).out.strip()
    for columns in (60, 80, 200, None):
        shown = cli("budgets", "list", columns=columns).out
        assert budget_id in shown
        assert "0 tokens" in shown
    (made,) = cli("budgets", "list", "--json").json
    assert (made["limit"], made["current"]["percent"]) == ({"cost": "2.50", "tokens": 10}, 0)
    assert "7 tokens" in cli("budgets", "update", budget_id, "--tokens", "7", "--then", "fail").out
    assert cli("budgets", "delete", budget_id).out == f"{budget_id}  deleted\n"
    assert cli("budgets", "list").err == "no budgets\n"
    assert cli("budgets", "create", "project").code == 1  # a limit is missing
    assert cli("budgets", "create", "team").code == 2


def test_a_run_with_a_budget_is_approved_raised_or_stopped(cli, project_client):
    usage = {"provider": "acme", "model": "m", "inputTokens": 9, "outputTokens": 0}
    worker = project_client.workers.register("py", "budgets").worker.id
    for answer in (("approve",), ("approve", "--raise-tokens", "9"), ("stop",)):
        run_id = cli("runs", "create", "task:spend", "--budget-tokens", "5").out.strip()
        (run,) = project_client.workers.claim(worker, 60, targets=["task:spend"], max_runs=1).runs
        event = {"type": "CUSTOM", "name": "run.usage", "value": usage}
        project_client.events.append(run_id, [event], lease_token=run.lease_token)
        assert "9 of 5 tokens spent by the family" in cli("runs", "get", run_id).out
        assert "reached" in cli("budgets", "of", run_id).out
        done = cli("budgets", answer[0], run_id, *answer[1:])
        assert done.out == ("stopped\n" if answer == ("stop",) else "approved\n")
        assert project_client.runs.get(run_id).status == ("failed" if answer == ("stop",) else "running")
        assert cli("budgets", answer[0], run_id).code == 1
        project_client.runs.cancel(run_id)
