"""`runstead runs …` against a server."""

import json
import re
import threading
import time

import pytest

from tests.support.until import until

LONG = "task:" + "a-target-of-some-length-" * 5
EVIL = "\x1b[2J\u202eevil\x07"
WIDTHS = (60, 80, 200)


def create(cli, *options, target="task:sum"):
    done = cli("runs", "create", target, *options)
    assert (done.code, done.err) == (0, ""), done
    return done.out.strip()


def test_a_run_is_created_with_its_options(cli, project_client):
    run_id = create(
        cli,
        *("--config", "count=3", "--config", "name=Ada", "--config", 'text="3"', "--config", 'all={"a":[1]}'),
        *(
            "--config-json",
            '{"base": true, "count": 1}',
            "--input",
            "[1, 2]",
            "--id",
            "sum-1",
            "--title",
            "Sum",
        ),
        *("--label", "team=data", "--label", "a=b=c", "--priority", "-5", "--timeout-seconds", "60"),
        *("--backoff-limit", "2", "--delay", "2h"),
    )
    run = project_client.runs.get(run_id)
    assert run.run_id == "sum-1"
    assert run.config == {"base": True, "count": 3, "name": "Ada", "text": "3", "all": {"a": [1]}}
    assert (run.input, run.title, run.labels) == ([1, 2], "Sum", {"team": "data", "a": "b=c"})
    assert (run.priority, run.timeout_seconds, run.backoff_limit) == (-5, 60, 2)
    assert run.available_at is not None
    again = cli("runs", "create", "task:sum", "--id", "sum-1")
    assert (again.code, again.out) == (0, "sum-1\n")
    assert "already existed" in again.err


def test_flow_control_finds_an_existing_run(cli, project_client):
    first = create(cli, "--unique", "customer:7")
    again = cli("runs", "create", "task:sum", "--unique", "customer:7", "--unique-for", "1h")
    assert (again.code, again.out) == (0, f"{first}\n")
    assert "unique key" in cli("runs", "get", first).out
    options = ("--debounce", "d", "--debounce-for", "30s", "--debounce-max", "5m")
    debounced = create(cli, *options, "--input", "1")
    assert cli("runs", "create", "task:sum", *options, "--input", "2").out == f"{debounced}\n"
    assert (project_client.runs.get(debounced).input, project_client.runs.get(debounced).debounced) == (2, 1)
    for invalid in (("--unique-for", "1h"), ("--debounce", "d"), ("--debounce-max", "1m")):
        assert cli("runs", "create", "task:sum", *invalid).code == 2


def test_input_comes_from_a_file_from_stdin_or_as_text(cli, project_client, tmp_path):
    (tmp_path / "in.json").write_text('{"from": "file"}')
    assert project_client.runs.get(create(cli, "--input", f"@{tmp_path}/in.json")).input == {"from": "file"}
    piped = cli("runs", "create", "task:sum", "--input", "-", stdin='{"from": "stdin"}')
    assert project_client.runs.get(piped.out.strip()).input == {"from": "stdin"}
    assert project_client.runs.get(create(cli, "--input", "just text")).input == "just text"
    missing = cli("runs", "create", "task:sum", "--input", "@nowhere")
    assert (missing.code, missing.err) == (1, "runstead: cannot read nowhere: No such file or directory\n")


def test_each_kind_of_run_can_be_created(cli, project_client):
    conversation = project_client.conversations.create().id
    made = [create(cli, target=target) for target in ("task:t", "workflow:w", "eval:e")]
    made.append(create(cli, "--conversation", conversation, target="agent:a"))
    assert [project_client.runs.get(one).kind for one in made] == ["task", "workflow", "eval", "agent"]


@pytest.mark.parametrize(
    "tokens",
    [
        ("runs", "create", "nonsense"),
        ("runs", "create", "task:"),
        ("runs", "create", "agent:a"),
        ("runs", "create", "eval:e", "--timeout-seconds", "3"),
        ("runs", "create", "task:t", "--conversation", "c"),
        ("runs", "create", "task:t", "--config", "nothing"),
        ("runs", "create", "task:t", "--config-json", "[]"),
        ("runs", "create", "task:t", "--delay", "soon"),
        ("runs", "list", "--since", "yesterday"),
        ("runs", "list", "--status", "done"),
        ("runs", "list", "--nonsense"),
        ("runs", "list", "--label", "team"),
        ("runs", "list", "--target", "sum"),
        ("runs", "nonsense"),
        ("runs", "get"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(cli, project, tokens):
    done = cli(*tokens)
    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("runstead: ")
    assert len(done.err.splitlines()) == 1


def test_missing_and_unexpected_arguments_are_named(cli, project):
    assert cli("schedules", "create", "task:t").err == (
        "runstead: `schedules create` needs --name with a value. See --help.\n"
    )
    assert cli("runs", "get").err == "runstead: `runs get` needs RUN_ID. See --help.\n"
    assert cli("runs", "get", "a", "b").err == "runstead: Unexpected argument 'b'. See --help.\n"


def test_the_address_of_the_dashboard_is_no_server(cli, server, project):
    done = cli("runs", "list", "--url", f"{server.url}/ui")
    assert (done.code, "without the path of a page such as /ui" in done.err) == (1, True)


def test_a_list_is_filtered_as_asked(cli, project_client):
    first = create(cli, "--label", "team=data", "--title", "needle")
    child = create(cli, "--parent", first, target="task:child")
    project_client.runs.complete(child, "failed", error_code="BOOM")

    def listed(*options):
        return {run["run_id"] for run in cli("runs", "list", *options, "--json").json}

    assert listed() == {first, child}
    assert listed("--status", "failed", "--status", "completed") == {child}
    assert (
        listed("--target", "task:sum")
        == listed("--label", "team:data")
        == listed("--label", "team=data")
        == listed("--root-only")
        == {first}
    )
    assert listed("--parent", first) == {child}
    assert listed("--search", "needle") == {first}
    assert listed("--kind", "eval") == listed("--until", "1h") == set()
    assert listed("--since", "1h") == {first, child}
    assert listed("--slowest") == {child}  # the other has not started
    assert len(listed("--limit", "1")) == 1


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_list_fits_the_terminal_and_shows_ids_whole(cli, project_client, columns):
    run_id = create(cli, "--title", "A title that is rather long, so that it is cut somewhere", target=LONG)
    shown = cli("runs", "list", columns=columns)
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in shown.lines]
    assert max(map(len, lines)) <= columns
    assert run_id in lines[1]
    assert "pending" in lines[1]
    assert ("TITLE" in lines[0]) == (columns > 60)
    if columns < 200:
        assert "…" in shown.out


def test_in_a_pipe_the_list_is_whole_plain_and_aligned(cli, project_client):
    run_id = create(cli, "--title", "The title", target=LONG)
    project_client.runs.cancel(create(cli, target="task:x"))
    shown = cli("runs", "list")
    head, *rows = shown.lines
    assert "\x1b" not in shown.out
    assert head.split()[:4] == ["RUN", "STATUS", "TARGET", "CREATED"]
    (row,) = [row for row in rows if row.startswith(run_id)]
    assert LONG in row
    assert "The title" in row
    assert {row.index(status) for row, status in zip(rows, ("cancelled", "pending"), strict=True)} == {
        head.index("STATUS")
    }


def test_statuses_have_colour_in_a_terminal_alone(cli, project_client):
    project_client.runs.complete(create(cli))
    assert "\x1b[32mcompleted\x1b[0m" in cli("runs", "list", columns=120).out
    cli.env.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("runs", "list", columns=120).out


@pytest.mark.parametrize("columns", [*WIDTHS, None])
def test_a_run_is_shown_with_its_details(cli, project_client, columns):
    run_id = create(cli, "--input", '{"a": 1}', "--label", "team=data")
    project_client.runs.complete(
        run_id, "failed", error_message="It broke", error_code="BOOM", output=[1], exit_code=3
    )
    shown = cli("runs", "get", run_id, columns=columns).out
    for word in (run_id, "failed", "task:sum", "It broke (BOOM)", '{"a":1}', "team=data", "3"):
        assert word in shown
    assert cli("runs", "get", run_id, "--json").json["error"]["code"] == "BOOM"


def test_attempts_are_listed_below_the_run(cli, project_client):
    run_id = create(cli)
    worker = project_client.workers.register("python", "w").worker.id
    project_client.workers.claim(worker, 30, targets=["task:sum"])
    assert "ATTEMPT  OUTCOME" in cli("runs", "get", run_id).out


def test_hostile_text_is_escaped_in_every_output(cli, project_client):
    run_id = create(cli, "--title", EVIL, "--label", f"a={EVIL}", "--input", json.dumps({EVIL: EVIL}))
    project_client.events.append(run_id, [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": EVIL}])
    project_client.runs.complete(
        run_id, "failed", error_message=EVIL, logs=EVIL, output=EVIL, error_detail=EVIL
    )
    for columns in (80, None):
        for words in (("list",), *((verb, run_id) for verb in ("get", "watch", "logs", "events", "tree"))):
            shown = cli("runs", *words, columns=columns).out
            own = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[31m", "")
            assert not set("\x1b\u202e\x07") & set(own), words
    printed = cli("runs", "get", run_id, "--json")
    assert not set("\x1b\u202e\x07") & set(printed.out)
    assert printed.json["title"] == EVIL


def test_a_megabyte_without_a_space_is_cut_in_a_terminal(cli, project_client):
    run_id = create(cli)
    project_client.runs.complete(run_id, output="x" * 900_000, logs="y" * 900_000)
    assert len(cli("runs", "get", run_id, columns=80).out) < 10_000
    assert "x" * 900_000 in cli("runs", "get", run_id).out
    assert cli("runs", "logs", run_id).out == "y" * 900_000 + "\n"


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 4), ("cancelled", 5)])
def test_watching_ends_with_the_runs_outcome_as_exit_code(cli, project_client, status, code):
    run_id = create(cli)
    project_client.events.append(run_id, [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hi"}])
    project_client.runs.complete(run_id, status)
    shown = cli("runs", "watch", run_id)
    assert (shown.code, shown.err) == (code, "")
    assert shown.lines[0] == "Hi"
    assert [line for line in shown.lines if line.startswith(status)]
    printed = cli("runs", "watch", run_id, "--json")
    assert printed.code == code
    assert [json.loads(line)["event_id"] for line in printed.lines] == [1, 2]


def test_a_run_is_watched_through_a_wait_without_an_event(cli, project_client):
    run_id = create(cli)
    project_client.runs.wait(run_id, "approval", tool_call_id="call-1")

    def answer():
        until(lambda: "waits for approval" in cli.screen.getvalue(), "the watcher to notice")
        project_client.runs.resume(run_id, True, type="approval", tool_call_id="call-1")
        project_client.runs.complete(run_id)

    answering = threading.Thread(target=answer)
    answering.start()
    shown = cli("runs", "watch", run_id)
    answering.join()
    assert shown.code == 0
    assert shown.lines[0] == "waits for approval"
    assert shown.lines[1] == f"  runstead runs approve {run_id} --tool-call-id call-1"
    assert "resumed by approval: true" in shown.lines


def test_creating_with_wait_follows_the_run_to_its_end(cli, project_client):
    def work():
        while not (runs := project_client.runs.list(target="task:waited").data):
            time.sleep(0.02)
        project_client.runs.complete(runs[0].run_id, "failed", error_message="no")

    working = threading.Thread(target=work)
    working.start()
    done = cli("runs", "create", "task:waited", "--wait")
    working.join()
    assert done.code == 4
    assert done.err.startswith("run_")
    assert "failed" in done.out


def test_a_waiting_run_is_resumed_by_its_reason(cli, project_client):
    def waiting(reason, **call):
        run_id = create(cli)
        project_client.runs.wait(run_id, reason, **call)
        return run_id

    def resumed(run_id):
        (event,) = project_client.events.list(run_id).data
        return event.payload.get("value", event.payload)

    asked = waiting("approval", tool_call_id="c")
    assert cli("runs", "resume", asked).code == 2
    assert cli("runs", "resume", asked, "--approve").out == "resumed\n"
    assert resumed(asked)["result"] is True
    denied = waiting("approval", tool_call_id="c")
    assert cli("runs", "resume", denied, "--deny").code == 0
    assert resumed(denied)["result"] is False
    tool = waiting("tool", tool_call_id="t")
    assert cli("runs", "resume", tool, "--result", '{"a": 1}').code == 0
    assert resumed(tool)["result"] == {"a": 1}
    event = waiting("event")
    assert cli("runs", "resume", event, "--result", "text", "--json").json["accepted"]
    assert resumed(event)["result"] == "text"
    paused = create(cli)
    project_client.runs.pause(paused)
    assert "paused" in cli("runs", "list").out
    assert cli("runs", "resume", paused).code == 0
    assert not project_client.runs.get(paused).paused
    idle = cli("runs", "resume", paused)
    assert (idle.code, idle.err) == (1, "runstead: the run does not wait: it is running\n")


def test_several_runs_are_cancelled_and_failures_are_named(cli, project_client):
    first, second, over = (create(cli) for _ in range(3))
    project_client.runs.complete(over)
    done = cli("runs", "cancel", first, "nowhere", second, over, "--reason", "enough")
    assert done.code == 1
    assert done.lines == [f"{first}  cancelled", f"{second}  cancelled", f"{over}  already ended: completed"]
    assert done.err == "runstead: nowhere: Run not found (NOT_FOUND, HTTP 404)\n"
    assert project_client.runs.get(first).cancellation.reason == "enough"


def test_a_retry_is_a_new_run(cli, project_client):
    run_id = create(cli, "--input", "7")
    project_client.runs.complete(run_id, "failed")
    again = cli("runs", "retry", run_id).out.strip()
    assert (project_client.runs.get(again).retry_of, project_client.runs.get(again).input) == (run_id, 7)


def test_a_retry_goes_on_from_a_step_with_other_members(cli, project_client):
    run_id = create(cli, "--input", "7")
    project_client.runs.complete(run_id, "failed")
    refused = cli("runs", "retry", run_id, "--from-step", "3")
    assert refused.code == 1
    assert "no step '3'" in refused.err
    options = ("--input", "8", "--config", "a=1", "--title", "Again", "--label", "b=c")
    again = cli("runs", "retry", run_id, "--from-step", "failed", *options).out.strip()
    run = project_client.runs.get(again)
    assert (run.input, run.config, run.title, run.labels) == (8, {"a": 1}, "Again", {"b": "c"})
    assert f"retry of  {run_id}\n" in cli("runs", "get", again).out


def test_logs_are_printed_and_followed(cli, project_client):
    run_id = create(cli)
    empty = cli("runs", "logs", run_id)
    assert (empty.code, empty.out) == (0, "")
    assert "-f waits" in empty.err
    log = {"type": "CUSTOM", "name": "run.log", "value": {"lines": "one\ntwo"}}
    worker = project_client.workers.register("runstead", "logger").worker.id
    lease = project_client.workers.claim(worker, 60, kinds=["task"]).run
    assert lease.run_id == run_id
    other = {"type": "CUSTOM", "name": "other", "value": 1}
    project_client.events.append(run_id, [log, other], lease_token=lease.lease_token)
    assert cli("runs", "logs", run_id).out == "one\ntwo\n"
    project_client.runs.complete(run_id, logs="one\ntwo\nthree")
    assert cli("runs", "logs", run_id).out == "one\ntwo\nthree\n"
    assert cli("runs", "logs", run_id, "-f", "--json").json == {"run_id": run_id, "lines": "one\ntwo\nthree"}


def test_events_are_listed_and_chosen(cli, project_client):
    run_id = create(cli)
    project_client.events.append(
        run_id, [{"type": "STEP_STARTED", "stepName": "a"}, {"type": "CUSTOM", "name": "n"}]
    )
    shown = cli("runs", "events", run_id)
    assert [line.split()[0] for line in shown.lines] == ["1", "2"]
    assert all("  caller  " in line for line in shown.lines)
    assert '{"stepName":"a"}' in shown.lines[0]
    assert len(cli("runs", "events", run_id, "--after", "1").lines) == 1
    chosen = cli("runs", "events", run_id, "--type", "CUSTOM", "--json")
    assert [json.loads(line)["event_id"] for line in chosen.lines] == [2]
    assert max(map(len, cli("runs", "events", run_id, columns=60).lines)) <= 60
    project_client.runs.complete(run_id)
    assert len(cli("runs", "events", run_id, "-f").lines) == 3


@pytest.mark.parametrize("columns", [*WIDTHS, None])
def test_a_family_is_shown_as_a_tree(cli, project_client, columns):
    root = create(cli, "--id", "root")
    for number in (1, 2):
        create(cli, "--id", f"child-{number}", "--parent", root)
    create(cli, "--id", "grandchild", "--parent", "child-1")
    lines = cli("runs", "tree", "grandchild", columns=columns).lines
    assert [line.split("  task")[0] for line in lines] == [
        *("root", "├─ child-1", "│  └─ grandchild", "└─ child-2"),
    ]
    assert lines[2].endswith(" *")
    assert [run["run_id"] for run in cli("runs", "tree", root, "--json").json] == [
        *("root", "child-1", "child-2", "grandchild"),
    ]


def test_lists_and_trees_read_only_the_members_that_they_ask_for(project_client):
    """What a table shows is in `fields`, so that the server does not send inputs and outputs."""
    from runstead.cli.shared.render import Screen
    from runstead.cli.shared.run_tables import RUN_FIELDS, format_tree, run_columns
    from runstead.sdk.models.run import Run
    from runstead.sdk.routes.call import chosen

    run = project_client.runs.create("task:sum", input="large").run
    read = set()

    class Spy:
        def __getattr__(self, name):
            if isinstance(member := getattr(Run, name), property):
                return member.fget(self)
            read.add(name)
            return getattr(run, name)

    for column in run_columns(Screen.of()):
        column.cell(Spy())
    format_tree([Spy()], "another", Screen.of())
    assert read <= set(chosen(RUN_FIELDS, Run).split(","))


def test_an_approval_is_answered_with_approve_or_reject(cli, project_client):
    def waiting(*approvals):
        run_id = create(cli)
        project_client.runs.wait(run_id, "approval", tool_call_id="pay", open_approvals=approvals)
        return run_id

    def answered(run_id):
        (event,) = project_client.events.list(run_id).data
        return event.payload["value"]["tool_call_id"], event.payload["value"]["result"]

    run_id = waiting()
    assert cli("runs", "approve", run_id).out == "approved\n"
    assert answered(run_id) == ("pay", True)
    run_id = waiting()
    assert cli("runs", "reject", run_id, "--reason", "too much").out == "rejected\n"
    assert answered(run_id) == ("pay", {"approved": False, "reason": "too much"})
    run_id = waiting("pay", "ship")
    for tokens in (("approve", run_id), ("resume", run_id, "--approve")):
        several = cli("runs", *tokens)
        assert several.code == 1
        assert "one of pay, ship" in several.err
    assert cli("runs", "approve", run_id, "--tool-call-id", "ship").code == 0
    assert answered(run_id) == ("ship", True)


def test_progress_and_values_are_shown(cli, project_client):
    run_id = create(cli, target="task:shown")
    worker = project_client.workers.register("python", "values").worker
    lease = project_client.workers.claim(
        worker.id, 60, kinds=["task"], targets=["task:shown"]
    ).run.lease_token
    events = [
        {"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.4, "message": "parsing"}},
        {"type": "CUSTOM", "name": "run.value", "value": {"name": "stage", "value": {"file": 3}}},
    ]
    assert cli("runs", "values", run_id).err == "no values\n"
    project_client.events.append(run_id, events, lease_token=lease)
    assert "running 40%" in cli("runs", "list").out
    shown = cli("runs", "get", run_id).out
    assert "progress 40% parsing" in " ".join(shown.split())
    assert re.search(r'^stage +{"file":3}', shown, re.MULTILINE)
    assert cli("runs", "values", run_id, "stage").json == {"file": 3}
    assert [one["name"] for one in cli("runs", "values", run_id, "--json").json] == ["stage"]
    missing = cli("runs", "values", run_id, "other")
    assert (missing.code, missing.err) == (1, "runstead: the run has no value named 'other'\n")
