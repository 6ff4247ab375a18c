"""The doctor at a real PostgreSQL server."""

import time

from runstead.cli import local_checks


def found(monkeypatch, url):
    monkeypatch.delenv("RUNSTEAD_DATABASE_URL", raising=False)
    return {one.check: one for one in local_checks.machine_checks(url)}


def test_the_doctor_finds_a_database_well(monkeypatch, databases, database):
    findings = found(monkeypatch, databases.server.url(database))
    assert findings["store"].level == "ok"
    assert findings["engine"].detail.startswith("PostgreSQL ")
    assert findings["clock of the database"].level == "ok"


def test_the_doctor_sees_that_the_clocks_differ(monkeypatch, databases, database):
    ahead = time.time
    monkeypatch.setattr(local_checks.time, "time", lambda: ahead() + 30)
    findings = found(monkeypatch, databases.server.url(database))["clock of the database"]
    assert (findings.level, "behind" in findings.detail) == ("warn", True)


def test_the_doctor_reports_missing_migrations(monkeypatch, databases):
    findings = found(monkeypatch, databases.server.url("postgres"))
    assert (findings["store"].level, "runstead db migrate" in findings["store"].advice) == ("warn", True)
