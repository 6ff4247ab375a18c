"""`runstead db migrate --check` shows what an upgrade would do to the schema, and changes nothing."""

import json
import sqlite3
from contextlib import closing

import pytest

from runstead.engines.sqlite import migrate

SAFE = {"9998_expand": "ALTER TABLE runs ADD COLUMN size INTEGER;\n"}
CONTRACT = {"9999_contract": "-- contract: 0.2.0\nALTER TABLE runs DROP COLUMN size;\n"}


@pytest.fixture
def store(cli):
    cli.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{cli.home}/here.db")
    assert cli("db", "migrate").code == 0
    return cli


def upgrade(cli, more):
    """The next version, with more migrations."""
    known = migrate._known() | more
    cli.env.setattr(migrate, "_known", lambda: known)


def dump(cli):
    with closing(sqlite3.connect(cli.home / "here.db")) as connection:
        return list(connection.iterdump())


def test_nothing_to_do_is_exit_0(store):
    assert store("db", "migrate", "--check")[:2] == (0, "up to date\n")
    assert store("db", "migrate", "--check", "--json").json == {"pending": []}


def test_pending_migrations_are_listed_with_whether_the_previous_version_may_run_and_none_is_applied(store):
    before = dump(store)
    upgrade(store, SAFE)
    done = store("db", "migrate", "--check")
    assert (done.code, done.lines) == (6, ["9998_expand: safe while the previous version runs"])
    upgrade(store, CONTRACT)
    done = store("db", "migrate", "--check")
    assert done.code == 7
    assert done.lines[1:] == [
        "9999_contract: not safe: stop versions before 0.2.0 first",
        "  ALTER TABLE runs DROP COLUMN size",
    ]
    done = store("db", "migrate", "--check", "--json")
    assert done.code == 7
    assert [(one["name"], one["safe"], one["works_from"]) for one in json.loads(done.out)["pending"]] == [
        ("9998_expand", True, None),
        ("9999_contract", False, "0.2.0"),
    ]
    assert dump(store) == before
    assert store("db", "migrate").lines == ["applied 9998_expand", "applied 9999_contract"]
    assert store("db", "migrate", "--check").code == 0


def test_a_store_that_does_not_exist_is_refused_and_not_created(cli):
    cli.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{cli.home}/none.db")
    done = cli("db", "migrate", "--check")
    assert (done.code, "there is no database" in done.err) == (1, True)
    assert not (cli.home / "none.db").exists()


def test_a_downgrade_is_refused_with_what_to_do(store):
    with closing(sqlite3.connect(store.home / "here.db")) as connection, connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('9999_later', 0)")
    for words in (("migrate", "--check"), ("migrate",), ("check",)):
        done = store("db", *words)
        assert (done.code, done.out) == (1, "")
        assert "written by a newer Runstead (it knows 9999_later" in done.err
        assert "install the version that migrated it" in done.err
        assert "restore the backup" in done.err
