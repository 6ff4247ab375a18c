"""`runstead schedules …` against a server."""

import json

import pytest


@pytest.fixture
def nightly(cli, project_client):
    done = cli(
        *("schedules", "create", "task:report", "--name", "Nightly", "--cron", "0 6 * * 1", "--timezone"),
        *("Europe/Berlin", "--config", "rows=10", "--max-runs", "3", "--concurrency", "Forbid"),
    )
    assert (done.code, done.err) == (0, "")
    return done.out.strip()


def test_a_schedule_is_created_shown_paused_resumed_run_and_deleted(cli, project_client, nightly):
    made = project_client.schedules.get(nightly)
    assert (made.schedule, made.timezone, made.config, made.max_runs) == (
        *("0 6 * * 1", "Europe/Berlin", {"rows": 10}, 3),
    )
    shown = cli("schedules", "get", nightly).out
    for word in (nightly, "Nightly", "0 6 * * 1 Europe/Berlin", "task:report", "0 of 3"):
        assert word in shown
    assert cli("schedules", "pause", nightly, "--reason", "holidays").out == f"{nightly}  paused\n"
    assert "holidays" in cli("schedules", "get", nightly).out
    nothing = cli("schedules", "upcoming", nightly)
    assert (nothing.code, nothing.out) == (0, "")
    assert "paused" in nothing.err
    assert cli("schedules", "resume", nightly).out.startswith(f"{nightly}  active, next 20")
    assert len(cli("schedules", "upcoming", nightly, "--count", "3").lines) == 3
    run_id = cli("schedules", "run", nightly).out.strip()
    assert project_client.runs.get(run_id).schedule_id == nightly
    assert cli("schedules", "delete", nightly, "--json").json["id"] == nightly


def test_a_schedule_is_named_by_its_name_if_no_other_has_it(cli, project_client, nightly):
    run_id = cli("schedules", "run", "Nightly").out.strip()
    assert project_client.runs.get(run_id).schedule_id == nightly
    assert "not found" in cli("schedules", "run", "Daily").err
    other = cli("schedules", "create", "task:report", "--name", "Nightly", "--cron", "0 7 * * 1").out.strip()
    refused = cli("schedules", "pause", "Nightly")
    assert (refused.code, nightly in refused.err, other in refused.err) == (2, True, True)


def test_a_schedule_can_run_once(cli, project_client):
    made = cli("schedules", "create", "workflow:w", "--name", "Once", "--at", "2h", "--json").json
    assert made["run_at"] is not None
    assert "once at 20" in cli("schedules", "list").out


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_list_keeps_ids_whole(cli, nightly, columns):
    shown = cli("schedules", "list", columns=columns)
    assert nightly in shown.out
    assert "Nightly" in shown.out
    if columns is not None:
        assert all(len(line.replace("\x1b[32m", "")) <= columns + 8 for line in shown.lines)
    assert ("RUNS" in shown.out) == (columns in {200, None})
    assert [one["id"] for one in cli("schedules", "list", "--status", "active", "--json").json] == [nightly]


def test_exactly_one_of_cron_and_at_is_required(cli, project):
    for options in ((), ("--cron", "* * * * *", "--at", "2h")):
        done = cli("schedules", "create", "task:t", "--name", "n", *options)
        assert (done.code, done.out) == (2, "")
    assert cli("schedules", "create", "nonsense", "--name", "n", "--at", "1h").code == 2
    refused = cli("schedules", "create", "task:t", "--name", "n", "--cron", "nonsense")
    assert refused.code == 1
    assert "schedule" in refused.err


def test_a_schedule_is_changed_only_where_named(cli, project_client, nightly):
    done = cli(
        "schedules", "update", nightly, "--cron", "30 7 * * *", "--config", "more=[1]", "--max-runs", 0
    )
    assert done.out.startswith(f"{nightly}  active, next 20")
    one = project_client.schedules.get(nightly)
    assert (one.schedule, one.timezone, one.max_runs) == ("30 7 * * *", "Europe/Berlin", None)
    assert (one.name, one.config, one.concurrency_policy) == ("Nightly", {"rows": 10, "more": [1]}, "Forbid")
    options = ("--at", "2h", "--target", "workflow:w", "--config-json", "{}", "--name", "Once")
    changed = cli("schedules", "update", nightly, *options, "--json").json
    assert (changed["schedule"], changed["target"]["kind"], changed["name"]) == ("", "workflow", "Once")
    assert not changed["config"]
    assert changed["run_at"] is not None


def test_keys_of_the_runs_of_a_schedule_are_set_and_removed(cli, project_client, nightly):
    created = cli(
        *("schedules", "create", "task:report", "--name", "keyed", "--at", "2h", "--unique", "ada"),
        *("--unique-for", "1h", "--concurrency-key", "eu"),
    ).out.strip()
    one = project_client.schedules.get(created)
    assert (one.unique, one.concurrency_key) == ({"key": "ada", "while": 3600}, "eu")
    assert '"key":"ada"' in cli("schedules", "get", created).out
    options = (
        "--remove",
        "unique",
        "--remove",
        "concurrency-key",
        "--debounce",
        "d",
        "--debounce-for",
        "30s",
    )
    assert cli("schedules", "update", created, *options).code == 0
    one = project_client.schedules.get(created)
    assert (one.unique, one.concurrency_key) == (None, None)
    assert one.debounce == {"key": "d", "seconds": 30, "max_seconds": None}
    assert cli("schedules", "update", nightly, "--unique-for", "1h").code == 2


def test_invalid_changes_are_refused(cli, nightly):
    for options in ((), ("--cron", "* * * * *", "--at", "2h"), ("--target", "nonsense")):
        done = cli("schedules", "update", nightly, *options)
        assert (done.code, done.out) == (2, "")
    assert cli("schedules", "update", nightly, "--cron", "nonsense").code == 1
    assert cli("schedules", "update", "nobody", "--name", "n").code == 1


def source(key, cron="0 6 * * *"):
    target = {"kind": "task", "id": "report"}
    return {"source_trigger_id": key, "name": key.title(), "target": target, "schedule": cron}


def test_a_file_of_schedules_is_synced(cli, project_client, tmp_path):
    file = tmp_path / "schedules.json"

    def sync(*wanted):
        file.write_text(json.dumps(wanted))
        return cli("schedules", "sync", file)

    first = sync(source("daily"), source("weekly"))
    assert [line.split()[::2] for line in first.lines] == [["created", "daily"], ["created", "weekly"]]
    assert (first.code, first.err) == (0, "runstead: 0 unchanged\n")
    second = sync(source("daily", "0 7 * * *"), source("hourly"))
    changes = {tuple(line.split()[::2]) for line in second.lines}
    assert changes == {("updated", "daily"), ("created", "hourly"), ("removed", "weekly")}
    nothing = sync(source("daily", "0 7 * * *"), source("hourly"))
    assert (nothing.out, nothing.err) == ("", "runstead: 2 unchanged\n")
    request = json.dumps({"schedules": [source("daily", "0 7 * * *")]})
    synced = cli("schedules", "sync", "-", "--json", stdin=request).json
    assert {kind for kind, found in synced.items() if found} == {"removed", "unchanged"}
    daily = synced["unchanged"][0]["id"]
    refused = cli("schedules", "update", daily, "--name", "n")
    assert (refused.code, "SCHEDULE_FROM_SOURCE" in refused.err) == (1, True)
    of_app = cli("schedules", "sync", "-", "--app", "billing", stdin=json.dumps([source("daily")]))
    assert of_app.lines[0].startswith("created ")
    assert "app:billing" in cli("schedules", "list").out
    emptied = cli("schedules", "sync", "-", "--app", "billing", stdin="[]")
    assert [line.split()[0] for line in emptied.lines] == ["removed"]


def test_a_file_that_holds_no_schedules_changes_nothing(cli, project_client, tmp_path):
    (tmp_path / "wrong.json").write_text("{")
    assert cli("schedules", "sync", tmp_path / "wrong.json").code == 2
    assert cli("schedules", "sync", tmp_path / "nowhere").code == 1
    refused = cli("schedules", "sync", "-", stdin=json.dumps([source("a"), source("b", "nonsense")]))
    assert (refused.code, "schedule" in refused.err) == (1, True)
    assert project_client.schedules.list().schedules == []
