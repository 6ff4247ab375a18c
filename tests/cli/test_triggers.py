"""`runstead triggers …` against a server."""

import pytest


@pytest.fixture
def trigger(cli, project_client):
    """The id and token of a new trigger."""
    done = cli("triggers", "create", "task:build", "--name", "Push", "--config", "n=1")
    assert done.code == 0
    assert "shown only now" in done.err
    return done.lines


def test_a_trigger_is_disabled_enabled_rotated_and_deleted(cli, project_client, trigger):
    trigger_id, token = trigger
    run = project_client.runs.get(project_client.triggers.fire(token, {"ref": "main"}).run_id)
    assert (run.target, run.config, run.input) == ("task:build", {"n": 1}, {"ref": "main"})
    changed = cli("triggers", "update", trigger_id, "--disable", "--name", "Push to main")
    assert changed.out == f"{trigger_id}  disabled  Push to main\n"
    assert not cli("triggers", "list", "--json").json[0]["enabled"]
    assert cli("triggers", "update", trigger_id, "--enable", "--json").json["enabled"]
    rotated = cli("triggers", "rotate", trigger_id)
    assert rotated.lines[0] == trigger_id
    assert rotated.lines[1] != token
    assert project_client.triggers.fire(rotated.lines[1]).run_id != run.run_id
    assert cli("triggers", "delete", trigger_id).out == f"{trigger_id}  deleted\n"
    assert cli("triggers", "delete", trigger_id).code == 1
    assert cli("triggers", "list").err == "no triggers\n"


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_list_keeps_ids_whole_and_shows_no_token(cli, trigger, columns):
    shown = cli("triggers", "list", columns=columns)
    assert trigger[0] in shown.out
    assert trigger[1] not in shown.out
    assert "active" in shown.out
    assert ("SIGNED" in shown.out) == (columns != 60)


def test_a_signing_secret_is_read_from_a_file_or_from_stdin(cli, project_client, tmp_path):
    (tmp_path / "secret").write_text("sixteen-letters!\n")
    made = cli("triggers", "create", "workflow:w", "--secret", f"@{tmp_path}/secret", "--json").json
    assert made["trigger"]["signed"]
    assert made["trigger"]["name"] == "workflow:w"
    assert "sixteen" not in str(made)
    short = cli("triggers", "create", "task:t", "--secret", "-", stdin="short\n")
    assert (short.code, "$.secret" in short.err) == (1, True)


def test_an_agent_is_started_in_the_given_conversation(cli, project_client):
    place = project_client.conversations.create().id
    made = cli("triggers", "create", "agent:scribe", "--conversation", place, "--json").json
    assert made["trigger"]["conversation_id"] == place
    assert (
        project_client.runs.get(project_client.triggers.fire(made["token"]).run_id).conversation_id == place
    )


def test_a_change_needs_an_option(cli, trigger):
    assert cli("triggers", "update", trigger[0]).code == 2
    assert cli("triggers", "create", "nonsense").code == 1
