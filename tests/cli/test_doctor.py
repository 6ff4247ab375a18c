"""`runstead doctor` reports problems and how to fix them."""

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
    lines = [line for line in done.lines if not line.startswith(" ")]
    return {line[6:].split(": ")[0]: line.split()[0] for line in lines}


@pytest.fixture
def store(cli):
    cli.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{cli.home}/here.db")
    assert cli("db", "migrate").code == 0
    return cli


def test_every_check_is_ok_on_a_healthy_installation(store):
    store.env.setattr(
        local_checks, "_optimized", lambda: True
    )  # independent of the Python that runs the tests
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
def test_a_python_without_optimizations_is_a_warning(bare, arguments, prefix, level):
    bare.env.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": arguments}.get)
    bare.env.setattr(sys, "base_prefix", prefix)
    done = bare("doctor")
    assert levels(done)["versions"] == level
    assert ("--enable-optimizations" in done.out) == (level == "warn")


def test_the_doctor_shows_no_secret(store, server):
    store.env.setenv("RUNSTEAD_BOOTSTRAP_KEY", "vf_doctor01_very-hidden-words-for-nobody-else")
    store.profile('[profiles.x]\nkey = "vf_profile1_also-hidden"\n', mode=0o644)
    for options in ((), ("--json",)):
        done = store("doctor", *options)
        assert "hidden" not in done.out + done.err
        assert server.key not in done.out + done.err


def test_a_missing_server_fails_if_named_and_warns_otherwise(bare):
    done = bare("doctor")
    assert done.code == 0
    assert levels(done)["server"] == "warn"
    assert "runstead serve" in done.out
    named = bare("doctor", "--url", "http://127.0.0.1:9")
    assert named.code == 1
    assert levels(named)["server"] == "fail"
    assert "--url" in named.out
    assert (
        "127.0.0.1:9 is not a server URL: write it like http://" in bare("doctor", "--url", "127.0.0.1:9").out
    )


def test_a_refused_key_fails_and_its_source_is_named(cli, project):
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


def test_a_store_with_missing_migrations_is_a_warning(bare):
    sqlite3.connect(bare.home / "old.db").close()
    (bare.home / "old.db").touch()
    done = bare("doctor", "--database", f"sqlite:///{bare.home}/old.db")
    assert levels(done)["store"] == "warn"
    assert "runstead db migrate" in done.out


def test_the_store_of_dev_is_named_where_the_default_one_does_not_exist(bare):
    bare.env.chdir(bare.home)
    bare.env.delenv("RUNSTEAD_DATABASE_URL", raising=False)
    (bare.home / ".runstead").mkdir()
    (bare.home / ".runstead" / "runstead.db").touch()
    done = bare("doctor")
    assert levels(done)["store"] == "ok"
    assert "--database sqlite:///.runstead/runstead.db" in done.out


def test_an_invalid_store_is_a_failure(bare):
    for database in ("mysql://x", "memory://", f"sqlite:///{bare.home}/no/such/place.db"):
        done = bare("doctor", "--database", database)
        assert (done.code, levels(done)["store"]) == (1, "fail"), database
    (bare.home / "text.db").write_text(
        "This is no database at all, and long enough to be seen to be none. " * 20
    )
    done = bare("doctor", "--database", f"sqlite:///{bare.home}/text.db")
    assert (done.code, levels(done)["store"]) == (1, "fail")


def test_an_unreachable_postgresql_is_a_failure_without_its_password(bare):
    done = bare("doctor", "--database", "postgresql://ada:hunter2@127.0.0.1:9/runstead")
    assert (done.code, levels(done)["store"]) == (1, "fail")
    assert "hunter2" not in done.out


def test_invalid_settings_are_reported(bare):
    bare.env.setenv("RUNSTEAD_PORT", "many")
    done = bare("doctor")
    assert (done.code, levels(done)["settings"]) == (1, "fail")
    assert "RUNSTEAD_PORT" in done.out
    bare.env.setenv("RUNSTEAD_PORT", "1")
    bare.env.setenv("RUNSTEAD_HOST", "0.0.0.0")
    assert levels(bare("doctor"))["settings"] == "warn"
    bare.env.setenv("RUNSTEAD_BOOTSTRAP_KEY", "vf_local_choose-a-long-random-secret")
    weak = bare("doctor")
    assert (weak.code, levels(weak)["settings"]) == (1, "fail")
    assert "runstead keys generate" in weak.out


def test_readable_signing_keys_are_a_warning(bare):
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
def test_a_clock_difference_is_reported(seconds, level):
    found = skew("clock", seconds, 0.0)
    assert found.level == level
    if level != "ok":
        assert ("ahead of" if seconds > 0 else "behind") in found.detail


@pytest.mark.parametrize(("free", "level"), [(10**12, "ok"), (10**9, "warn"), (10**7, "fail")])
def test_a_nearly_full_disk_is_reported(bare, free, level):
    bare.env.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    assert levels(bare("doctor"))["disk"] == level


@pytest.mark.parametrize(
    ("hard", "level"), [(resource.RLIM_INFINITY, "ok"), (4_096, "ok"), (1_024, "warn"), (64, "fail")]
)
def test_a_low_limit_of_open_files_is_reported(bare, hard, level):
    bare.env.setattr(resource, "getrlimit", lambda _: (64, hard))
    assert levels(bare("doctor"))["open files"] == level


def test_a_directory_that_cannot_be_written_is_a_failure(bare):
    if os.geteuid() == 0:  # root may write anywhere
        bare.env.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    locked = bare.home / "locked"
    locked.mkdir(mode=0o500)
    assert levels(bare("doctor", "--database", f"sqlite:///{locked}/x.db"))["disk"] == "fail"


def test_another_kind_of_server_is_recognized(bare):
    answer = types.SimpleNamespace(status_code=200, content=b"<html>", headers={})
    (found,) = server_checks._answer("http://x", answer, 0.0, 0.0)
    assert (found.level, "not a Runstead server" in found.detail) == ("fail", True)
