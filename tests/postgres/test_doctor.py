"""The doctor at a real PostgreSQL server."""

import time

from runstead.cli import local_checks


def found(monkeypatch, url):
    monkeypatch.delenv("RUNSTEAD_DATABASE_URL", raising=False)
    return {one.check: one for one in local_checks.machine_checks(url)}


def test_the_doctor_finds_a_database_well(monkeypatch, databases, database):
    told = found(monkeypatch, databases.server.url(database))
    assert told["store"].level == "ok"
    assert told["engine"].detail.startswith("PostgreSQL ")
    assert told["clock of the database"].level == "ok"


def test_the_doctor_sees_that_the_clocks_differ(monkeypatch, databases, database):
    ahead = time.time
    monkeypatch.setattr(local_checks.time, "time", lambda: ahead() + 30)
    told = found(monkeypatch, databases.server.url(database))["clock of the database"]
    assert (told.level, "behind" in told.detail) == ("warn", True)


def test_the_doctor_says_that_a_database_lacks_its_migrations(monkeypatch, databases):
    told = found(monkeypatch, databases.server.url("postgres"))
    assert (told["store"].level, "runstead db migrate" in told["store"].advice) == ("warn", True)
