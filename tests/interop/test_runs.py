"""`veryfront/runs`: creating, listing, reading and cancelling runs of tasks, workflows and evals."""

import pytest

ENGINES = ("sqlite", "postgres")

INGEST = {
    "ids": {"upload_ids": ["u1", "u2"]},
    "paths": {"paths": ["docs/a.md"]},
    "prefix": {"path_prefix": "docs/"},
}


@pytest.fixture(scope="module")
def watched(api):
    """A completed run with five events."""
    api.create(api.project_id(), "task:watched", public_id="watched")
    api.append("watched", [{"type": "CUSTOM", "name": "step", "value": number} for number in range(4)])
    api.complete("watched", output={"done": True})
    return "watched"


@pytest.fixture(scope="module")
def facts(drive, watched):
    return drive("runs", watched=watched)


@pytest.fixture(scope="module")
def pages(drive, facts):
    return drive("pages", count=250, limit=100)


def test_a_task_run_is_created_as_it_was_asked_for(facts, api):
    run = facts["created"]["run"]
    assert facts["created"]["accepted"] is True
    assert "duplicate" not in facts["created"]
    assert (run["run_id"], run["kind"], run["status"]) == ("nightly-sync", "task", "pending")
    assert run["owner"] == {"kind": "project", "id": api.project_id()}
    assert (run["target"], run["config"]) == ("task:sync-data", {"batchSize": 100})
    assert (run["timeout_seconds"], run["backoff_limit"]) == (60, 2)
    assert run["runtime_target_kind"] == "main_branch"
    assert api.run("nightly-sync")["title"] == "Nightly sync"


def test_the_same_task_run_again_is_the_same_run(facts, api):
    assert facts["again"]["duplicate"] is True
    assert facts["again"]["run"]["created_at"] == facts["created"]["run"]["created_at"]
    listed = [run["run_id"] for run in api.get("/projects/default/runs", limit=100)["data"]]
    assert listed.count("nightly-sync") == 1


def test_a_child_run_stands_under_its_parent(facts, api):
    assert facts["child"]["parent_run_id"] == facts["child"]["root_run_id"] == "nightly-sync"
    children = api.get("/runs/nightly-sync/children")["data"]
    assert [run["run_id"] for run in children] == [facts["child"]["run_id"]]


def test_a_workflow_run_is_created_as_it_was_asked_for(facts, api):
    run = facts["workflow"]
    assert (run["kind"], run["workflow_id"], run["target"]) == ("workflow", "publish", "workflow:publish")
    assert (run["input"], run["start_mode"]) == ({"articles": ["a", "b"]}, "immediate")
    assert api.run(run["run_id"])["input"] == run["input"]


def test_an_eval_run_is_created_as_it_was_asked_for(facts, api):
    run = facts["evaluation"]
    assert (run["kind"], run["target"], run["input"]) == ("eval", "eval:answers", ["case-1", "case-2"])
    assert (run["config"], run["runtime_target_kind"]) == ({"threshold": 0.9}, "preview_branch")
    assert api.run(run["run_id"])["runtime_target_branch_id"] == run["runtime_target_branch_id"]


@pytest.mark.parametrize("by", INGEST)
def test_knowledge_is_ingested_by_a_task_run(facts, api, by):
    run = facts["knowledge"][by]
    assert (run["kind"], run["target"], run["config"]) == ("task", "task:knowledge-ingest", INGEST[by])
    named = api.run(run["run_id"])["title"]
    assert named == ("Docs" if by == "paths" else "Ingest knowledge")


def test_a_run_is_read_as_the_server_shows_it(facts, api):
    run = api.run("nightly-sync")
    assert facts["read"] == {name: run[name] for name in facts["read"]}
    assert len(facts["read"]) == 33


def test_events_are_read_page_by_page(facts, api, watched):
    assert [event["event_id"] for event in facts["events"]] == [1, 2, 3, 4, 5]
    # The published client drops the members that it does not know.
    shown = [{name: one[name] for name in one if name != "source"} for one in api.events(watched)]
    assert facts["events"] == shown
    assert facts["events"][-1]["event_type"] == "RUN_FINISHED"


def test_a_run_is_cancelled_once(facts, api):
    assert facts["cancelled"]["cancelled"] is True
    assert facts["cancelled"]["run"]["error"] == {"message": "Run cancelled", "code": "CANCELLED"}
    assert facts["cancelledAgain"]["cancelled"] is False
    assert api.run("nightly-sync")["status"] == "cancelled"
    assert api.run(facts["child"]["run_id"])["status"] == "cancelled"


def test_a_client_may_take_all_it_needs_from_the_environment(facts):
    assert facts["fromEnvironment"] == 1


def test_an_unknown_run_is_a_404_that_is_not_retried(facts):
    assert facts["missing"] == {"slug": "api-client-error", "status": 404, "asked": 1}


def test_a_wrong_key_is_a_401_that_is_not_retried(facts):
    assert facts["stranger"] == {"status": 401, "asked": 1}


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
