"""Commands that pause, delete and cancel runs, and that show their artifacts, usage and pages."""

import hashlib
import json
import threading
import webbrowser

import pytest

from runstead.cli.dev_loop import first_command
from runstead.cli.shared.render import PIPE
from runstead.cli.shared.transcript import Transcript
from runstead.cli.shared.watch_run import report_child
from runstead.sdk import App, Context, RunsteadError
from runstead.sdk.models.run import OpenEvent
from runstead.testing import BlockingTestbed
from tests.support.until import until


def create(client, target="task:sum", **request):
    return client.runs.create(target, **request).run.run_id


def test_a_run_is_paused_unpaused_and_deleted(cli, project_client):
    run_id = create(project_client)
    assert cli("runs", "pause", run_id).out == "paused\n"
    assert project_client.runs.get(run_id).paused
    assert cli("runs", "unpause", run_id).out == "unpaused\n"
    assert not project_client.runs.get(run_id).paused
    assert cli("runs", "delete", run_id, "--yes").code == 1  # it has not ended
    project_client.runs.complete(run_id)
    asked = cli("runs", "delete", run_id)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert cli("runs", "delete", run_id, "--yes").out == "deleted\n"
    assert cli("runs", "get", run_id).code == 1


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("\n", False), ("", False)])
def test_runs_are_cancelled_by_a_filter_after_a_question_with_their_number(
    cli, project_client, answer, cancelled
):
    chosen = [create(project_client, "task:a") for _ in range(3)]
    other = create(project_client, "task:b")
    ended = create(project_client, "task:a")
    project_client.runs.complete(ended)
    filters = ("--status", "pending", "--target", "task:a")
    assert cli("runs", "cancel", *filters).code == 2
    done = cli.typing(answer, "runs", "cancel", *filters)
    assert "Cancel 3 runs (3 pending) with their descendants? [y/N]" in done.err
    assert done.code == (0 if cancelled else 1)
    expected = {"cancelled"} if cancelled else {"pending"}
    assert {project_client.runs.get(one).status for one in chosen} == expected
    assert project_client.runs.get(other).status == "pending"
    if cancelled:
        assert cli("runs", "cancel", *filters, "--yes").err == "no matching runs\n"


def test_cancel_needs_either_ids_or_a_filter(cli, project):
    assert cli("runs", "cancel").code == 2
    assert cli("runs", "cancel", "r", "--target", "task:a").code == 2


def test_artifacts_are_listed_and_downloaded(cli, project_client):
    run_id = create(project_client)
    content = bytes(range(256)) * 5
    project_client.artifacts.store(run_id, "a.bin", content)
    project_client.artifacts.store(run_id, "empty", b"")
    assert [line.split()[:3] for line in cli("runs", "artifacts", "list", run_id).lines[1:]] == [
        ["a.bin", "1.3", "kB"],
        ["empty", "0", "B"],
    ]
    done = cli("runs", "artifacts", "get", run_id, "a.bin")
    assert (done.code, done.out) == (0, "a.bin  1.3 kB\n")
    assert (cli.home / "a.bin").read_bytes() == content
    again = cli("runs", "artifacts", "get", run_id, "a.bin")
    assert (again.code, "--force" in again.err) == (1, True)
    assert cli("runs", "artifacts", "get", run_id, "a.bin", "--force").code == 0
    assert cli("runs", "artifacts", "get", run_id, "empty", "--out", "here").code == 0
    assert (cli.home / "here").read_bytes() == b""
    missing = cli("runs", "artifacts", "get", run_id, "nothing")
    assert (missing.code, "no artifact named" in missing.err) == (1, True)
    assert not list(cli.home.glob("*.part"))
    assert cli("runs", "artifacts", run_id).out == cli("runs", "artifacts", "list", run_id).out


def test_an_artifact_with_other_bytes_is_refused(cli, project_client, monkeypatch):
    from runstead.sdk.routes.artifacts import Artifacts

    run_id = create(project_client)
    project_client.artifacts.store(run_id, "a", b"stored")
    monkeypatch.setattr(Artifacts, "read", lambda *_, **__: b"others")
    done = cli("runs", "artifacts", "get", run_id, "a")
    assert (done.code, "SHA-256" in done.err) == (1, True)
    assert not (cli.home / "a").exists()
    assert hashlib.sha256(b"stored").hexdigest() in cli("runs", "artifacts", "list", run_id).out


def test_prices_are_set_and_give_usage_its_cost(cli, project_client):
    assert cli("prices", "list").err == "no prices\n"
    assert cli("prices", "set", "acme", "big", "--input", "2.50", "--output", "x").code == 2
    assert cli("prices", "set", "acme", "big", "--input", "2.5", "--output", "10").code == 0
    assert cli("prices", "list").lines[1].split()[:4] == ["acme", "big", "2.50", "10.00"]
    run_id = create(project_client)
    metadata = {"provider": "acme", "model": "big", "inputTokens": 1_000_000, "outputTokens": 100_000}
    project_client.runs.complete(run_id, metadata=metadata)
    rows = [line.split() for line in cli("runs", "usage", run_id).lines]
    assert ["this", "run", "acme/big", "1", "1,000,000", "0", "100,000", "0", "1,100,000"] in rows
    report = cli("usage", "--by", "model")
    assert report.lines[-1].split()[0] == "total"
    assert report.err.startswith("runs created from ")
    assert json.loads(cli("usage", "--json").out)["by"] == "model"
    assert cli("prices", "delete", "acme", "big").out == "deleted\n"
    assert cli("prices", "delete", "acme", "big").code == 1


def test_open_prints_the_page_and_opens_it_in_a_terminal_only(cli, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("RUNSTEAD_URL", "https://runs.example/")
    page = "https://runs.example/ui/runs/a%2Fb"
    assert cli("open", "a/b").out == f"{page}\n"
    assert cli("open", "a/b", "--print", columns=80).out == f"{page}\n"
    assert opened == []
    assert cli("open", "a/b", columns=80).out == f"{page}\n"
    assert cli("open", columns=80).out == "https://runs.example/ui\n"
    assert opened == [page, "https://runs.example/ui"]


def failed(client, error, **more):
    run_id = create(client)
    client.runs.complete(run_id, "failed", error_message="no", error_detail=error, **more)
    return run_id


@pytest.mark.parametrize("columns", [80, None])
def test_lists_and_trees_show_the_type_of_the_exception(cli, project_client, columns):
    failed(project_client, {"type": "KeyError", "traceback": "Traceback"}, error_code="KeyError")
    run_id = failed(project_client, {"type": "ApiError", "traceback": "Traceback"}, error_code="LIMITED")
    shown = cli("runs", "list", columns=columns).out
    assert "KeyError" in shown
    assert "ApiError" in shown
    assert "ApiError (LIMITED)" in cli("runs", "tree", run_id, columns=columns).out


def test_a_pipe_gets_a_traceback_once_and_on_its_own_lines(cli, project_client):
    run_id = create(project_client)
    worker = project_client.workers.register("python", "w").worker.id
    lease = project_client.workers.claim(worker, 30, targets=["task:sum"]).run
    traceback = 'Traceback\n  File "app.py", line 1\nKeyError: 1\n'
    detail = {"type": "KeyError", "traceback": traceback}
    project_client.runs.complete(
        run_id,
        "failed",
        error_message="1",
        error_code="KeyError",
        error_detail=detail,
        lease_token=lease.lease_token,
    )
    shown = cli("runs", "get", run_id)
    assert shown.out.count("app.py") == 1
    assert [line.strip() for line in shown.lines if "app.py" in line] == ['File "app.py", line 1']


def test_the_log_is_filtered_by_text_and_level_with_the_lines_of_an_entry(cli, project_client):
    run_id = create(project_client)
    log = (
        "2026-01-01T00:00:00.000Z INFO [attempt 1] shop: one\n"
        "2026-01-01T00:00:01.000Z ERROR [attempt 1, pay] shop: two\n"
        "Traceback\n"
        "KeyError: 'paid'\n"
        "2026-01-01T00:00:02.000Z WARNING [attempt 2] shop: three\n"
    )
    project_client.runs.complete(run_id, logs=log)

    def numbers(*options):
        out = cli("runs", "logs", run_id, *options).out
        return [one for one in ("one", "two", "Traceback", "three") if one in out]

    assert numbers() == ["one", "two", "Traceback", "three"]
    assert numbers("--level", "warning") == ["two", "Traceback", "three"]
    assert numbers("--level", "error", "-f") == ["two", "Traceback"]
    assert numbers("--search", "PAID") == ["two", "Traceback"]
    assert numbers("--search", "nothing") == []


def test_a_follower_gets_the_lines_that_come_with_the_completion(cli, project_client):
    import threading

    from tests.support.until import until

    run_id = create(project_client)
    worker = project_client.workers.register("runstead", "w").worker.id
    lease = project_client.workers.claim(worker, 60, kinds=["task"]).run
    event = {"type": "CUSTOM", "name": "run.log", "value": {"lines": "one\n"}}
    project_client.events.append(run_id, [event], lease_token=lease.lease_token)

    def complete():
        until(lambda: "one" in cli.screen.getvalue(), "the follower to read")
        project_client.runs.complete(run_id, logs="one\ntwo", lease_token=lease.lease_token)

    completing = threading.Thread(target=complete)
    completing.start()
    shown = cli("runs", "logs", run_id, "-f")
    completing.join()
    assert shown.out == "one\ntwo\n"


SIMPLE = """
@app.workflow("claims")
def claims(ctx, rows: list[str]): ...

@app.task(
    "order", retries=1
)
async def order(context: Context, item: str, count: int, *, input, price: float, note: str = ""): ...
"""


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (SIMPLE, "task:order --config item=text --config count=1 --config price=1.5"),
        ('@app.task("claim")\ndef claim(ctx, claim: Claim): ...', "task:claim --config claim=…"),
        ('@other.task("order")\ndef order(ctx): ...', "task:NAME"),
        ("no Python", "task:NAME"),
    ],
)
def test_dev_suggests_a_command_with_the_arguments_of_a_handler(source, command, tmp_path):
    (tmp_path / "jobs.py").write_text(source)
    assert first_command("jobs:app", tmp_path) == command
    assert first_command("missing:app", tmp_path) == "task:NAME"


def test_a_watched_run_shows_its_output_and_that_no_worker_serves_it(cli, project_client):
    run_id = create(project_client)
    worker = project_client.workers.register("python", "w1", metadata={"targets": ["task:other"]}).worker.id
    waiting = "pending: no active worker serves task:sum; they serve task:other"

    def complete():
        until(lambda: waiting in cli.screen.getvalue(), "the line about the worker")
        project_client.runs.complete(run_id, output={"sum": 3})

    completing = threading.Thread(target=complete)
    completing.start()
    shown = cli("runs", "watch", run_id)
    completing.join()
    assert shown.lines[-1] == 'output {"sum":3}'
    listed = cli("workers", "list")
    assert listed.lines[1].split()[0] == worker
    assert "task:other" in listed.lines[1]


def test_a_watched_run_shows_what_its_child_asks(cli):
    app = App()

    @app.task("child")
    async def child(ctx: Context) -> bool:
        return await ctx.wait_for_approval("Pay it?")

    @app.workflow("parent")
    async def parent(ctx: Context) -> bool:
        return await (await ctx.spawn(child)).result()

    with BlockingTestbed(app) as bed:
        run = bed.run(parent)
        [below] = [one for one in bed.client.runs.iter_tree(run.run_id) if one.run_id != run.run_id]
        out = []
        transcript = Transcript(run.run_id, out.append, PIPE)
        for _ in range(2):
            report_child(bed.client, run, transcript)
    command = f"runstead runs approve {below.run_id} --tool-call-id {below.waiting_tool_call_id}"
    assert "".join(out) == f"  {below.run_id} asks: Pay it?\n    {command}\n"


def test_a_signal_is_sent_and_listed(cli, project_client):
    run_id = create(project_client)
    assert cli("runs", "signal", run_id, "paid", '{"euros": 5}', "--id", "k").out == (
        "sent: the run takes it when it waits for it\n"
    )
    again = cli("runs", "signal", run_id, "paid", '{"euros": 5}', "--id", "k")
    assert again.out.startswith("it was sent before")
    project_client.runs.wait(run_id, "event", open_events=[OpenEvent(name="paid", tool_call_id="c-1")])
    project_client.runs.wait(run_id, "event", open_events=[OpenEvent(name="sent", tool_call_id="c-2")])
    assert cli("runs", "signal", run_id, "sent", "by post").out == "sent: the run has taken it\n"
    cli("runs", "signal", run_id, "late")
    refused = cli("runs", "signal", run_id, "late", "--payload", "5")
    assert refused.code == 2
    assert "There is no such option" in refused.err
    listed = json.loads(cli("runs", "signals", run_id, "--taken", "--json").out)
    assert [(one["name"], one["payload"]) for one in listed] == [("paid", {"euros": 5}), ("sent", "by post")]
    rows = cli("runs", "signals", run_id).out.splitlines()
    assert [row.split()[0] for row in rows] == ["SIGNAL", "paid", "sent", "late"]


def test_a_run_that_waits_for_an_event_names_it(cli, project_client):
    run_id = create(project_client)
    project_client.runs.wait(
        run_id, "event", tool_call_id="event:paid:2", tool_name="event:paid", open_events=[]
    )
    assert "the event paid\n" in cli("runs", "get", run_id).out


def test_a_token_of_a_conversation_reads_that_conversation_only(cli, project_client):
    own, other = (project_client.conversations.create().id for _ in range(2))
    reader = project_client.with_key(cli("conversations", "token", own, "--expires-in", "10m").out.strip())
    assert reader.conversations.get(own).id == own
    with pytest.raises(RunsteadError, match="not found"):
        reader.conversations.get(other)


def test_an_event_is_published_to_runs_that_wait_and_to_triggers(cli, project_client):
    run_id = create(project_client)
    waits = OpenEvent(name="paid", tool_call_id="c-1", match={"order.id": 7})
    project_client.runs.wait(run_id, "event", tool_call_id="c-1", open_events=[waits])
    made = cli("triggers", "create", "task:ship", "--event", "paid", "--match", "order.id=7", "--json").json
    assert made["trigger"]["event"] == {"name": "paid", "match": {"order.id": 7}}
    assert cli("events", "publish", "paid", '{"order": {"id": 8}}').out.endswith("resumed 0, started 0\n")
    publish = ("events", "publish", "paid", '{"order": {"id": 7}}', "--id", "e-1", "--occurred-at", "10m")
    assert cli(*publish).out == "e-1  resumed 1, started 1\n"
    assert cli(*publish).out == "e-1  published before: resumed 1, started 1\n"
    assert cli(*publish, "--json").json["duplicate"]
    assert "paid" in cli("triggers", "list", columns=200).out
    changed = cli("triggers", "update", made["trigger"]["id"], "--event", "sent", "--json").json
    assert changed["event"] == {"name": "sent", "match": None}
    assert cli("triggers", "update", made["trigger"]["id"], "--match", "a=1").code == 2


def test_compensations_are_listed_and_marked_in_the_family(cli, project_client):
    run_id = create(project_client)
    project_client.runs.compensate(run_id, "task:refund", title="Refund it")
    project_client.runs.compensate(run_id, "task:release")
    assert "compensations  2 registered" in cli("runs", "get", run_id).out
    project_client.runs.cancel(run_id)
    [row, _] = json.loads(cli("runs", "compensations", run_id, "--json").out)
    assert (row["target"], row["title"]) == ("task:refund", "Refund it")
    assert cli("runs", "compensations", run_id).out.splitlines()[1].split()[1] == "task:refund"
    assert "pending  (compensation)" in cli("runs", "tree", run_id).out
    shown = cli("runs", "get", row["run_id"]).out
    assert f"compensates    {run_id}" in shown
    assert "waits for      the end of the compensation before it" in shown


def test_a_token_of_a_run_reads_that_run_only(cli, project_client):
    own, other = create(project_client), create(project_client)
    token = cli("runs", "token", own, "--expires-in", "10m").out.strip()
    reader = project_client.with_key(token)
    assert reader.runs.get(own).run_id == own
    with pytest.raises(RunsteadError, match="not found"):
        reader.runs.get(other)
    assert cli("runs", "token", own, "--expires-in", "2d").code == 1
