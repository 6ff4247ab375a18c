"""`veryfront/runs`: creating, listing, reading and cancelling runs of tasks, workflows and evals."""

import pytest

INGEST = {
    "ids": {"upload_ids": ["u1", "u2"]},
    "paths": {"paths": ["docs/a.md"]},
    "prefix": {"path_prefix": "docs/"},
}


@pytest.fixture(scope="module")
def watched(api):
    """A run that has five events and is completed."""
    api.create(api.project_id(), "task:watched", public_id="watched")
    api.append("watched", [{"type": "CUSTOM", "name": "step", "value": number} for number in range(4)])
    api.complete("watched", output={"done": True})
    return "watched"


@pytest.fixture(scope="module")
def told(drive, watched):
    return drive("runs", watched=watched)


@pytest.fixture(scope="module")
def pages(drive, told):
    return drive("pages", count=250, limit=100)


def test_a_task_run_is_created_as_it_was_asked_for(told, api):
    run = told["created"]["run"]
    assert told["created"]["accepted"] is True
    assert "duplicate" not in told["created"]
    assert (run["run_id"], run["kind"], run["status"]) == ("nightly-sync", "task", "pending")
    assert run["owner"] == {"kind": "project", "id": api.project_id()}
    assert (run["target"], run["config"]) == ("task:sync-data", {"batchSize": 100})
    assert (run["timeout_seconds"], run["backoff_limit"]) == (60, 2)
    assert run["runtime_target_kind"] == "main_branch"
    assert api.run("nightly-sync")["title"] == "Nightly sync"


def test_the_same_task_run_again_is_the_same_run(told, api):
    assert told["again"]["duplicate"] is True
    assert told["again"]["run"]["created_at"] == told["created"]["run"]["created_at"]
    listed = [run["run_id"] for run in api.get("/projects/default/runs", limit=100)["data"]]
    assert listed.count("nightly-sync") == 1


def test_a_child_run_stands_under_its_parent(told, api):
    assert told["child"]["parent_run_id"] == told["child"]["root_run_id"] == "nightly-sync"
    children = api.get("/runs/nightly-sync/children")["data"]
    assert [run["run_id"] for run in children] == [told["child"]["run_id"]]


def test_a_workflow_run_is_created_as_it_was_asked_for(told, api):
    run = told["workflow"]
    assert (run["kind"], run["workflow_id"], run["target"]) == ("workflow", "publish", "workflow:publish")
    assert (run["input"], run["start_mode"]) == ({"articles": ["a", "b"]}, "immediate")
    assert api.run(run["run_id"])["input"] == run["input"]


def test_an_eval_run_is_created_as_it_was_asked_for(told, api):
    run = told["evaluation"]
    assert (run["kind"], run["target"], run["input"]) == ("eval", "eval:answers", ["case-1", "case-2"])
    assert (run["config"], run["runtime_target_kind"]) == ({"threshold": 0.9}, "preview_branch")
    assert api.run(run["run_id"])["runtime_target_branch_id"] == run["runtime_target_branch_id"]


@pytest.mark.parametrize("by", INGEST)
def test_knowledge_is_ingested_by_a_task_run(told, api, by):
    run = told["knowledge"][by]
    assert (run["kind"], run["target"], run["config"]) == ("task", "task:knowledge-ingest", INGEST[by])
    named = api.run(run["run_id"])["title"]
    assert named == ("Docs" if by == "paths" else "Ingest knowledge")


def test_a_run_is_read_as_the_server_shows_it(told, api):
    run = api.run("nightly-sync")
    assert told["read"] == {name: run[name] for name in told["read"]}
    assert len(told["read"]) == 33


def test_events_are_read_page_by_page(told, api, watched):
    assert [event["event_id"] for event in told["events"]] == [1, 2, 3, 4, 5]
    assert told["events"] == api.events(watched)
    assert told["events"][-1]["event_type"] == "RUN_FINISHED"


def test_a_run_is_cancelled_once(told, api):
    assert told["cancelled"]["cancelled"] is True
    assert told["cancelled"]["run"]["error"] == {"message": "Run cancelled", "code": "CANCELLED"}
    assert told["cancelledAgain"]["cancelled"] is False
    assert api.run("nightly-sync")["status"] == "cancelled"
    assert api.run(told["child"]["run_id"])["status"] == "cancelled"


def test_a_client_may_take_all_it_needs_from_the_environment(told):
    assert told["fromEnvironment"] == 1


def test_an_unknown_run_is_a_404_that_is_not_retried(told):
    assert told["missing"] == {"slug": "api-client-error", "status": 404, "asked": 1}


def test_a_wrong_key_is_a_401_that_is_not_retried(told):
    assert told["stranger"] == {"status": 401, "asked": 1}


def test_a_list_of_250_runs_is_read_to_its_end_by_cursors(pages):
    many = [run for run in pages["listed"] if run.startswith("page-")]
    assert sorted(many) == pages["ids"]
    assert len(pages["ids"]) == len(set(many)) == 250
    assert len(pages["listed"]) == len(set(pages["listed"]))
    assert pages["pages"][:2] == [100, 100]


def test_a_list_that_is_being_read_does_not_shift_under_new_runs(pages):
    assert not [run for run in pages["listed"] if run.startswith("late-")]


def test_a_list_returns_the_newest_50_by_default(pages, api):
    newest = [run["run_id"] for run in api.get(f"/projects/{api.project_id()}/runs")["data"]]
    assert len(newest) == 50
    assert pages["byDefault"] == newest
