"""`runstead doctor` says what is wrong, and what to do."""

import os
import resource
import shutil
import sqlite3
import sys
import sysconfig
import types

import pytest

from runstead.cli import local_checks, server_checks
from runstead.cli.shared.diagnostics import skew


def levels(done):
    told = [line for line in done.lines if not line.startswith(" ")]
    return {line[6:].split(": ")[0]: line.split()[0] for line in told}


@pytest.fixture
def store(cli):
    cli.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{cli.home}/here.db")
    assert cli("db", "migrate").code == 0
    return cli


def test_where_all_is_well_every_line_says_ok(store):
    store.env.setattr(local_checks, "_optimized", lambda: True)  # or not, as the tests' Python was built
    done = store("doctor")
    assert (done.code, done.err) == (0, ""), done
    assert set(levels(done).values()) == {"ok"}, done.out
    assert {"versions", "open files", "settings", "store", "engine", "disk", "signing keys"} <= levels(
        done
    ).keys()
    assert {"server", "server version", "clock of the server", "key"} <= levels(done).keys()
    for finding in store("doctor", "--json").json:
        assert finding.keys() == {"check", "level", "detail", "advice"}


@pytest.mark.parametrize(
    ("arguments", "prefix", "level"),
    [
        ("'--prefix=/opt/python' '--enable-shared'", "/opt/python", "warn"),
        ("'--prefix=/opt/python' '--enable-optimizations' '--with-lto'", "/opt/python", "ok"),
        ("'--enable-shared' '--prefix=/usr'", "/usr", "ok"),
        (None, "C:\\Python313", "ok"),
    ],
)
def test_a_python_that_was_built_without_optimization_is_warned_of(bare, arguments, prefix, level):
    bare.env.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": arguments}.get)
    bare.env.setattr(sys, "base_prefix", prefix)
    done = bare("doctor")
    assert levels(done)["versions"] == level
    assert ("--enable-optimizations" in done.out) == (level == "warn")


def test_no_screen_of_the_doctor_shows_a_secret(store, server):
    store.env.setenv("RUNSTEAD_BOOTSTRAP_KEY", "vf_doctor01_very-secret-words-here")
    store.profile('[profiles.x]\nkey = "vf_profile1_also-secret"\n', mode=0o644)
    for options in ((), ("--json",)):
        done = store("doctor", *options)
        assert "secret" not in done.out + done.err
        assert server.key not in done.out + done.err


def test_a_server_that_is_not_there_fails_where_it_was_named_and_warns_where_not(bare):
    done = bare("doctor")
    assert done.code == 0
    assert levels(done)["server"] == "warn"
    assert "runstead serve" in done.out
    named = bare("doctor", "--url", "http://127.0.0.1:9")
    assert named.code == 1
    assert levels(named)["server"] == "fail"
    assert "--url" in named.out


def test_a_key_that_is_refused_fails_and_says_whose_it_is(cli, project):
    assert levels(cli("doctor"))["key"] == "ok"
    wrong = cli("doctor", "--project", "elsewhere")
    assert (wrong.code, levels(wrong)["key"]) == (1, "fail")
    assert project.slug in wrong.out
    cli.env.setenv("RUNSTEAD_KEY", "vf_wrongkey_wrong")
    refused = cli("doctor")
    assert (refused.code, levels(refused)["key"]) == (1, "fail")
    assert "RUNSTEAD_KEY" in refused.out
    cli.env.delenv("RUNSTEAD_KEY")
    assert levels(cli("doctor"))["key"] == "warn"


def test_a_store_without_its_migrations_is_told_how_to_get_them(bare):
    sqlite3.connect(bare.home / "old.db").close()
    (bare.home / "old.db").touch()
    done = bare("doctor", "--database", f"sqlite:///{bare.home}/old.db")
    assert levels(done)["store"] == "warn"
    assert "runstead db migrate" in done.out


def test_a_store_that_cannot_be_is_a_failure(bare):
    for database in ("mysql://x", "memory://", f"sqlite:///{bare.home}/no/such/place.db"):
        done = bare("doctor", "--database", database)
        assert (done.code, levels(done)["store"]) == (1, "fail"), database
    (bare.home / "text.db").write_text(
        "This is no database at all, and long enough to be seen to be none. " * 20
    )
    done = bare("doctor", "--database", f"sqlite:///{bare.home}/text.db")
    assert (done.code, levels(done)["store"]) == (1, "fail")


def test_a_postgresql_that_is_not_there_is_a_failure_without_its_password(bare):
    done = bare("doctor", "--database", "postgresql://ada:hunter2@127.0.0.1:9/runstead")
    assert (done.code, levels(done)["store"]) == (1, "fail")
    assert "hunter2" not in done.out


def test_settings_that_cannot_be_are_told(bare):
    bare.env.setenv("RUNSTEAD_PORT", "many")
    done = bare("doctor")
    assert (done.code, levels(done)["settings"]) == (1, "fail")
    assert "RUNSTEAD_PORT" in done.out
    bare.env.setenv("RUNSTEAD_PORT", "1")
    bare.env.setenv("RUNSTEAD_HOST", "0.0.0.0")
    assert levels(bare("doctor"))["settings"] == "warn"
    bare.env.setenv("RUNSTEAD_BOOTSTRAP_KEY", "vf_local_choose-a-long-random-secret")
    assert "example of the docs" in bare("doctor").out


def test_signing_keys_that_others_can_read_are_warned_of(bare):
    path = bare.home / "keys.pem"
    bare.env.setenv("RUNSTEAD_SIGNING_KEY_FILE", str(path))
    missing = bare("doctor")
    assert levels(missing)["signing keys"] == "fail"
    assert f"runstead keys signing --out {path}" in missing.out
    assert bare("keys", "signing", "--out", path).code == 0
    assert levels(bare("doctor"))["signing keys"] == "ok"
    path.chmod(0o644)
    assert levels(bare("doctor"))["signing keys"] == "warn"


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, "ok"), (4, "ok"), (-6, "warn"), (59, "warn"), (-61, "fail"), (86_400, "fail")]
)
def test_clocks_that_differ_are_told_by_how_much(seconds, level):
    found = skew("clock", seconds, 0.0)
    assert found.level == level
    if level != "ok":
        assert ("ahead of" if seconds > 0 else "behind") in found.detail


@pytest.mark.parametrize(("free", "level"), [(10**12, "ok"), (10**9, "warn"), (10**7, "fail")])
def test_a_disk_that_runs_full_is_told_in_time(bare, free, level):
    bare.env.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    assert levels(bare("doctor"))["disk"] == level


@pytest.mark.parametrize(
    ("hard", "level"), [(resource.RLIM_INFINITY, "ok"), (4_096, "ok"), (1_024, "warn"), (64, "fail")]
)
def test_too_few_open_files_are_told(bare, hard, level):
    bare.env.setattr(resource, "getrlimit", lambda _: (64, hard))
    assert levels(bare("doctor"))["open files"] == level


def test_a_directory_that_cannot_be_written_is_a_failure(bare):
    if os.geteuid() == 0:  # who may write anywhere
        bare.env.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    locked = bare.home / "locked"
    locked.mkdir(mode=0o500)
    assert levels(bare("doctor", "--database", f"sqlite:///{locked}/x.db"))["disk"] == "fail"


def test_another_server_than_ours_is_not_taken_for_one(bare):
    answer = types.SimpleNamespace(status_code=200, content=b"<html>", headers={})
    (found,) = server_checks._answer("http://x", answer, 0.0, 0.0)
    assert (found.level, "no Runstead server" in found.detail) == ("fail", True)
