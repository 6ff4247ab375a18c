"""`runstead schedules …` against a server."""

import pytest


@pytest.fixture
def nightly(cli, shop):
    done = cli(
        *("schedules", "create", "task:report", "--name", "Nightly", "--cron", "0 6 * * 1", "--timezone"),
        *("Europe/Berlin", "--config", "rows=10", "--max-runs", "3", "--concurrency", "Forbid"),
    )
    assert (done.code, done.err) == (0, "")
    return done.out.strip()


def test_a_schedule_is_created_shown_paused_resumed_run_and_deleted(cli, shop, nightly):
    made = shop.get_schedule(nightly)
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
    assert shop.get_run(run_id).schedule_id == nightly
    assert cli("schedules", "delete", nightly, "--json").json["id"] == nightly


def test_a_schedule_can_run_once(cli, shop):
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
    assert ("HEALTH" in shown.out) == (columns in {200, None})
    assert [one["id"] for one in cli("schedules", "list", "--status", "active", "--json").json] == [nightly]


def test_when_must_be_said_once(cli, project):
    for options in ((), ("--cron", "* * * * *", "--at", "2h")):
        done = cli("schedules", "create", "task:t", "--name", "n", *options)
        assert (done.code, done.out) == (2, "")
    assert cli("schedules", "create", "nonsense", "--name", "n", "--at", "1h").code == 2
    refused = cli("schedules", "create", "task:t", "--name", "n", "--cron", "nonsense")
    assert refused.code == 1
    assert "schedule" in refused.err
