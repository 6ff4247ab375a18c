"""`runs output` and `runs get`: outputs and step results that are large, or encoded."""

import hashlib
import json

import pytest

from runstead.sdk.codecs import Compression

CODEC = "from runstead.sdk.codecs import Compression\ncodec = Compression()\nother = 'text'\n"


@pytest.fixture
def large(project_client):
    """Complete a run whose output, and the result of whose step, an artifact holds."""
    worker = project_client.workers.register("cli", worker_key="values").worker
    project_client.runs.create("task:large")
    run = project_client.workers.claim(worker.id, 60, kinds=["task"]).run
    text = json.dumps(["x" * 2_000]).encode()
    digest = hashlib.sha256(text).hexdigest()
    name = f"runstead.value.{digest}"
    project_client.artifacts.store(run.run_id, name, text, media_type="application/json")
    place = {"name": name, "size": len(text), "sha256": digest, "media_type": "application/json"}
    steps = [
        {"type": "STEP_STARTED", "stepName": "make", "stepId": "1"},
        {"type": "STEP_FINISHED", "stepName": "make", "stepId": "1", "result": {"$artifact": place}},
        {"type": "STEP_STARTED", "stepName": "count", "stepId": "2"},
        {"type": "STEP_FINISHED", "stepName": "count", "stepId": "2", "result": 7},
    ]
    project_client.events.append(run.run_id, steps, lease_token=run.lease_token)
    return run.run_id, {"$artifact": place}


def test_the_output_of_a_run_and_the_result_of_a_step_are_printed_whole(cli, project_client, large):
    run_id, reference = large
    assert "the run has no output yet: it is running" in cli("runs", "output", run_id).err
    project_client.runs.complete(run_id, output=reference)
    shown = cli("runs", "get", run_id).out
    assert f"2.0 kB, stored as an artifact: runstead runs output {run_id}" in shown
    assert "$artifact" not in shown
    assert cli("runs", "artifacts", run_id, "--json").json == []
    assert cli("runs", "output", run_id).json == ["x" * 2_000]
    assert cli("runs", "output", run_id, "--step", "1").json == ["x" * 2_000]
    assert cli("runs", "output", run_id, "--step", "2").json == 7
    assert "the run has no finished step '3'" in cli("runs", "output", run_id, "--step", "3").err
    assert cli("runs", "output", run_id, "--out", "out.json").out == ""
    assert json.loads((cli.home / "out.json").read_text()) == ["x" * 2_000]
    assert cli("runs", "output", run_id, "--out", "no/out.json").code == 1


def test_a_codec_decodes_what_the_command_line_shows(cli, project_client):
    (cli.home / "jobs_codec.py").write_text(CODEC)
    project_client.codec = Compression()
    run_id = project_client.runs.create("task:t", input={"to": "Ada"}).run.run_id
    project_client.runs.complete(run_id, output=json.loads(bytes_of("hello")))
    shown = cli("runs", "get", run_id).out
    assert shown.count("encoded: `runstead runs get` decodes it with RUNSTEAD_CODEC=module:codec") == 2
    assert "pass the codec" in cli("runs", "output", run_id).err
    cli.env.setenv("RUNSTEAD_CODEC", "jobs_codec:codec")
    shown = cli("runs", "get", run_id).out
    assert '{"to":"Ada"}' in shown
    assert "hello" in shown
    assert cli("runs", "output", run_id).json == "hello"
    for wrong, why in (("jobs_codec:other", "is no codec"), ("jobs_codec:none", "has no 'none'")):
        cli.env.setenv("RUNSTEAD_CODEC", wrong)
        refused = cli("runs", "get", run_id)
        assert (refused.code, why in refused.err) == (1, True), refused


def bytes_of(value):
    from runstead.sdk.models.value import packed

    return bytes(packed(value, Compression()))
