"""`runstead audit`, through a server and on the store itself."""

import pytest


@pytest.fixture
def recorded(cli, fresh, monkeypatch):
    """A project with two entries. Returns it."""
    project = fresh()
    monkeypatch.setenv("RUNSTEAD_KEY", project.key)
    monkeypatch.setenv("RUNSTEAD_PROJECT", project.slug)
    assert cli("members", "add", "ada", "--role", "viewer").code == 0
    assert cli("members", "remove", "ada").code == 0
    return project


def test_entries_are_listed_and_filtered(cli, recorded):
    found = cli("audit", "--json").json
    assert [one["action"] for one in found] == ["member.remove", "member.put", "project.create"]
    assert found[0]["object"] == {"kind": "member", "id": "ada"}
    change = found[0]["change"]
    assert (change["before"], [*change["after"]]) == ({"role": "viewer"}, ["removed_at"])
    assert len(cli("audit", "--action", "member.put", "--json").json) == 1
    assert len(cli("audit", "--object", "member:ada", "--json").json) == 2
    assert len(cli("audit", "--after", "1h", "--json").json) == 3
    assert len(cli("audit", "--limit", "1", "--json").json) == 1
    assert cli("audit", "--actor", "grace").err == "no entries\n"
    assert cli("audit", "--before", "1h").err == "no entries\n"


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_the_table_fits_the_screen(cli, recorded, columns):
    shown = cli("audit", columns=columns)
    assert "member.remove" in shown.out
    if columns:
        assert all(len(line) <= columns for line in shown.lines if "\x1b" not in line)


def test_an_invalid_filter_is_refused(cli, recorded):
    assert cli("audit", "--limit", "0").code == 2
    assert cli("audit", "--action", "run.destroy").code == 1
    assert cli("audit", "--after", "sometime").code == 2


def test_more_entries_than_one_page_are_listed(cli, recorded, fresh):
    for _ in range(51):
        cli("members", "add", "bob")
        cli("members", "remove", "bob")
    found = cli("audit", "--limit", "104", "--json").json
    assert len({one["id"] for one in found}) == 104


def test_commands_on_the_store_are_recorded_and_read_without_a_server(bare):
    database = f"sqlite:///{bare.home}/alone.db"
    assert bare("projects", "create", "alone", "--database", database).code == 0
    key = bare("keys", "create", "--project", "alone", "--database", database, "--json").json
    assert bare("keys", "revoke", key["id"], "--project", "alone", "--database", database).code == 0
    found = bare("audit", "--project", "alone", "--database", database, "--json").json
    assert [one["action"] for one in found] == ["key.revoke", "key.create", "project.create"]
    assert {one["actor"]["kind"] for one in found} == {"operator"}
    assert found[0]["change"]["before"] == {}
    assert bare("audit", "--instance", "--database", database).err == "no entries\n"
    assert bare("audit", "--database", database).code == 2
