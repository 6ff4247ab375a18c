"""`runstead batches …` against a server, and the progress line."""

import json
import threading
import time

import pytest
from hypothesis import given, settings, strategies as st

from runstead.cli.shared.batch_progress import ended, progress_line
from runstead.cli.shared.render import PIPE, Screen
from runstead.sdk.models.batch import BatchProgress, StatusCounts


def progress(total=100, **counts):
    return BatchProgress(batch_id="b", status="running", status_counts=StatusCounts(**counts), total=total)


counts = st.fixed_dictionaries(
    {name: st.integers(0, 1_000_000) for name in ("pending", "running", "completed", "failed", "cancelled")}
)


@settings(max_examples=50)
@given(counts, st.none() | st.floats(0, 1e7), st.integers(20, 220))
def test_a_progress_line_fits_every_terminal(found, left_s, width):
    one = progress(sum(found.values()), **found)
    line = progress_line(one, left_s, Screen(width, colour=False))
    assert len(line) < width
    assert f"{ended(one.status_counts)}/{one.total}"[: width - 10] in line


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_bar_shows_percentage_counts_and_an_estimate(width):
    line = progress_line(progress(completed=41, failed=2, running=57), 150, Screen(width, colour=False))
    assert line.startswith("[█")
    assert "43% 43/100  ~2m left" in line
    assert ("57 running" in line) == (width >= 80)


def test_in_a_pipe_the_line_has_no_bar():
    line = progress_line(progress(completed=41, failed=2, running=57), 150, PIPE)
    assert line == "43% 43/100  ~2m left  41 completed  2 failed  57 running"


@pytest.fixture
def batch(cli, project_client):
    done = cli(
        "batches", "create", "task:row", "--inputs", "1\n2\n3", "--name", "Rows", "--then", "task:after"
    )
    assert (done.code, done.err) == (0, "")
    return done.out.strip()


def test_a_batch_is_created_from_a_list_of_inputs(cli, project_client, batch, tmp_path):
    assert sorted(run.input for run in project_client.runs.iter(batch_id=batch)) == [1, 2, 3]
    shown = cli("batches", "get", batch).out
    for word in (batch, "Rows", "running", "task:after"):
        assert word in shown
    (tmp_path / "runs.json").write_text(json.dumps([{"kind": "eval", "request": {"target": "eval:e"}}] * 2))
    made = cli("batches", "create", "--runs", f"@{tmp_path}/runs.json", "--json").json
    assert len(made["run_ids"]) == 2
    flow = cli("batches", "create", "workflow:w", "--inputs", "-", "--config-json", '{"a": 1}', stdin="[7]")
    (run,) = project_client.runs.iter(batch_id=flow.out.strip())
    assert (run.workflow_id, run.input, run.config) == ("w", 7, {"a": 1})
    assert [one["id"] for one in cli("batches", "list", "--json").json][-1] == batch


@pytest.mark.parametrize(
    "options", [(), ("task:t",), ("--inputs", "[1]"), ("task:t", "--inputs", "{"), ("--runs", "{")]
)
def test_a_batch_needs_runs(cli, project, options):
    done = cli("batches", "create", *options)
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_list_shows_progress(cli, batch, columns):
    shown = cli("batches", "list", columns=columns).out
    assert batch in shown
    assert "0/3" in shown
    assert ("Rows" in shown) == (columns != 60)


def test_a_batch_is_watched_to_its_end(cli, project_client, batch):
    def work():
        for run in list(project_client.runs.iter(batch_id=batch)):
            project_client.runs.complete(run.run_id, "failed" if run.input == 2 else "completed")
            time.sleep(0.15)

    working = threading.Thread(target=work)
    working.start()
    shown = cli("batches", "watch", batch)
    working.join()
    assert shown.code == 4
    assert shown.lines[-1] == "100% 3/3  2 completed  1 failed"
    assert shown.err.strip() == "completed_with_failures"
    for words in (("get", batch), ("list",)):
        assert "completed_with_failures" in cli("batches", *words).out
    assert cli("batches", "get", batch, "--json").json["status"] == "completed"
    assert "\x1b" not in shown.out
    bar = cli("batches", "watch", batch, columns=80)
    assert bar.out.startswith("\r\x1b[K[█")
    assert bar.out.endswith("100% 3/3  2 completed  1 failed\n")
    printed = cli("batches", "watch", batch, "--json")
    assert [json.loads(line)["total"] for line in printed.lines] == [3]


def test_failed_runs_are_retried_as_a_new_batch(cli, project_client, batch):
    early = cli("batches", "retry", batch)
    assert (early.code, "BATCH_NOT_RETRIABLE" in early.err) == (1, True)
    for run in list(project_client.runs.iter(batch_id=batch)):
        project_client.runs.complete(run.run_id, "failed" if run.input == 2 else "completed")
    second = cli("batches", "retry", batch).out.strip()
    (run,) = project_client.runs.iter(batch_id=second)
    assert run.input == 2
    project_client.runs.cancel(run.run_id)
    assert cli("batches", "retry", second).code == 1
    third = cli("batches", "retry", second, "--cancelled", "--name", "Third", "--json").json
    assert (third["batch"]["name"], len(third["run_ids"])) == ("Third", 1)


def test_a_cancelled_batch_ends_a_watch_with_5(cli, batch):
    assert cli("batches", "cancel", batch, "--reason", "enough").code == 0
    assert cli("batches", "watch", batch).code == 5
    assert "nothing to cancel" in cli("batches", "cancel", batch).out
