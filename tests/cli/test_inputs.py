"""`runstead inputs …` against a server."""

import pytest

FIELDS = [
    {"name": "city", "label": "City", "type": "text", "required": True},
    {"name": "size", "label": "Size", "type": "select", "options": [{"value": "s", "label": "Small"}]},
    {"name": "count", "label": "Count", "type": "number"},
    {"name": "sure", "label": "Sure?", "type": "confirm"},
    {"name": "pin", "label": "Pin", "type": "password"},
]


def ask(project_client, title="Where to?", fields=FIELDS):
    """Create a run that waits for a form."""
    run = project_client.runs.create(
        "agent:guide", conversation_id=project_client.conversations.create().id
    ).run
    project_client.input_requests.create(run.conversation_id, run.run_id, "call", title, fields)
    return run


@pytest.fixture
def asked(project, project_client):
    return ask(project_client)


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_list_shows_what_runs_wait_for(cli, project_client, asked, columns):
    project_client.runs.wait(project_client.runs.create("task:t").run.run_id, "event")
    shown = cli("inputs", "list", columns=columns)
    assert (shown.code, shown.err) == (0, "")
    assert len(shown.lines) == 2
    assert asked.run_id in shown.lines[1]
    names = ",".join(field["name"] for field in FIELDS)
    assert (names in shown.out) == (columns in {200, None})
    assert [one["run_id"] for one in cli("inputs", "list", "--json").json] == [asked.run_id]


def test_the_list_respects_its_limit(cli, project_client, asked):
    second = ask(project_client)
    assert [one["run_id"] for one in cli("inputs", "list", "--limit", "1", "--json").json] == [second.run_id]


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_a_form_is_shown_with_its_fields(cli, asked, columns):
    shown = cli("inputs", "get", asked.run_id, columns=columns).out
    for word in ("Where to?", "city", "select", "true,false", "password"):
        assert word in shown
    assert cli("inputs", "get", asked.run_id, "--json").json["fields"][0]["label"] == "City"


def test_a_form_shows_whether_its_secrets_are_stored(cli, asked):
    assert "stored encrypted until the run ends" in cli("inputs", "get", asked.run_id, columns=200).out
    assert cli("inputs", "get", asked.run_id, "--json").json["keeps_secrets"] is True


def test_an_answer_resumes_the_run(cli, project_client, asked):
    done = cli("inputs", "answer", asked.run_id, "city=Oslo", "size=s", "count=-2", "sure=true")
    assert (done.code, done.out) == (0, f"{asked.run_id}  submitted\n")
    (one,) = cli("inputs", "list", "--conversation", asked.conversation_id, "--json").json
    assert one["latest_response"]["values"] == {"city": "Oslo", "size": "s", "count": "-2", "sure": True}
    assert project_client.runs.get(asked.run_id).status != "waiting"
    assert cli("inputs", "list").err == "no forms\n"
    over = cli("inputs", "answer", asked.run_id, "city=Oslo")
    assert (over.code, over.out) == (1, "")
    assert "waits for no form" in over.err


def test_secret_values_come_from_stdin(cli, asked):
    done = cli("inputs", "answer", asked.run_id, "city=Oslo", "--values-json", "-", stdin='{"pin": "1234"}')
    assert done.out == f"{asked.run_id}  submitted\n"
    (one,) = cli(
        "inputs", "list", "--conversation", asked.conversation_id, "--status", "submitted", "--json"
    ).json
    assert one["latest_response"]["withheld"] == ["pin"]
    assert "1234" not in str(one)


def test_invalid_values_are_refused_and_the_run_keeps_waiting(cli, project_client, asked):
    wrong = cli("inputs", "answer", asked.run_id, "city=", "size=xl")
    assert (wrong.code, wrong.out) == (1, "")
    assert "$.values.city is required" in wrong.err
    assert "$.values.size" in wrong.err
    for values in ((), ("city",), ("city=Oslo", "sure=perhaps"), ("--values-json", "[]")):
        assert cli("inputs", "answer", asked.run_id, *values).code == 2
    assert project_client.runs.get(asked.run_id).waiting_reason == "input"


def test_a_form_is_cancelled(cli, project_client, asked):
    assert cli("inputs", "cancel", asked.run_id).out == f"{asked.run_id}  cancelled\n"
    assert project_client.runs.get(asked.run_id).status != "waiting"
    unknown = cli("inputs", "cancel", "unknown")
    assert (unknown.code, "NOT_FOUND" in unknown.err) == (1, True)


def test_a_run_that_waits_for_no_form_is_reported(cli, project_client):
    run_id = project_client.runs.create("task:t").run.run_id
    assert "the run waits for no form: it is pending" in cli("inputs", "get", run_id).err
    project_client.runs.wait(run_id, "event")
    assert "it waits for event" in cli("inputs", "get", run_id).err
    assert cli("inputs", "list", "--status", "open").code == 2


def test_resuming_a_run_that_waits_for_a_form_names_the_right_command(cli, asked):
    printed = cli("runs", "resume", asked.run_id)
    assert (printed.code, "runstead inputs answer" in printed.err) == (1, True)
