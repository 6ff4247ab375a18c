"""A stolen database file gives away no secret: who can read the files, and what is encrypted in them."""

import json
import os
import sqlite3
import stat
from contextlib import closing

import pytest

from tests.support.server import KEY, runstead
from tests.support.until import until

SECRET = "whsec_" + "QUJD" * 10
TRIGGER = "a-secret-for-github"
WEBHOOKS, TRIGGERS = "/projects/default/webhooks", "/projects/default/triggers"
FIRST, SECOND = "f" * 43, "s" * 43


@pytest.fixture(autouse=True)
def _umask():
    """That of most machines."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def furnish(api):
    """Store one secret of each kind."""
    hook = {"url": "https://a.example/in", "events": ["*"], "secret": SECRET}
    api.post(WEBHOOKS, hook)
    api.post(TRIGGERS, {"target": "task:x", "secret": TRIGGER})
    api.get("/.well-known/jwks.json")


def contents(folder):
    return b"".join(
        path.read_bytes() for path in folder.iterdir() if "runstead.db" in path.name and path.is_file()
    )


def test_the_database_the_artifacts_and_the_generated_key_are_readable_by_their_owner_only(server, tmp_path):
    with server.api() as api:
        furnish(api)
        run = api.create(api.project_id())
        api.http.put(f"/runs/{run['run_id']}/artifacts/a", content=b"abc").raise_for_status()
    names = {"runstead.db", "runstead.db-wal", "runstead.db-shm", "runstead.db-encryption-key"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    for name in names:
        assert mode(tmp_path / name) == 0o600, name
    artifacts = tmp_path / "runstead.db-artifacts"
    for path in (artifacts, *artifacts.rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_an_existing_database_that_others_can_read_is_tightened_and_logged(new_server, tmp_path):
    with closing(sqlite3.connect(tmp_path / "runstead.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    (tmp_path / "runstead.db-artifacts").mkdir()
    assert mode(tmp_path / "runstead.db") == 0o644
    server = new_server().start()
    assert mode(tmp_path / "runstead.db") == 0o600
    assert mode(tmp_path / "runstead.db-artifacts") == 0o700
    notes = [json.loads(line) for line in server.log.splitlines()]
    assert [(note["event"], note["was"]) for note in notes] == [
        ("the file could be read by other users", "0644"),
        ("the directory could be read by other users", "0755"),
    ]


def test_a_stolen_database_file_holds_no_secret_in_plain_text(server, tmp_path):
    with server.api() as api:
        furnish(api)
    assert any("created the encryption key" in line for line in server.stdout)
    stolen = contents(tmp_path).replace((tmp_path / "runstead.db-encryption-key").read_bytes(), b"")
    for secret in (SECRET, TRIGGER, "PRIVATE KEY"):
        assert secret.encode() not in stolen, secret


def test_secrets_in_plain_text_are_encrypted_at_the_next_start(new_server, tmp_path):
    server = new_server()
    server.start()
    with server.api() as api:
        furnish(api)
    server.terminate()
    (tmp_path / "runstead.db-encryption-key").unlink()
    with closing(sqlite3.connect(tmp_path / "runstead.db")) as connection, connection:
        connection.execute("UPDATE webhooks SET secret = ?", (SECRET,))
        connection.execute("UPDATE triggers SET secret = ?", (TRIGGER,))
        connection.execute("DELETE FROM signing_keys")
    server.start()
    with closing(sqlite3.connect(tmp_path / "runstead.db")) as connection:
        rows = connection.execute(
            "SELECT secret FROM webhooks UNION ALL SELECT secret FROM triggers"
        ).fetchall()
    assert len(rows) == 2
    assert all(value.startswith("encrypted:1:") for (value,) in rows)


def test_a_server_without_its_key_starts_names_what_it_cannot_read_and_serves_the_rest(new_server, tmp_path):
    server = new_server()
    server.start()
    with server.api() as api:
        furnish(api)
    server.terminate()
    key = tmp_path / "runstead.db-encryption-key"
    key.rename(tmp_path / "elsewhere")
    server.start()
    assert not key.exists()  # a second key would hide that the first one is lost
    problems = [json.loads(line) for line in server.log.splitlines()]
    assert {(each["level"], each["secrets"], each["number"]) for each in problems} == {
        ("error", "signing_keys.pem", 2),
        ("error", "triggers.secret", 1),
        ("error", "webhooks.secret", 1),
    }
    with server.api() as api:
        run = api.create(api.project_id())
        api.complete(run["run_id"])
        assert len(api.get(WEBHOOKS)["data"]) == 1
        assert api.http.get("/.well-known/jwks.json").status_code == 503
        body = {"url": "https://a.example/in", "events": ["*"]}
        assert api.http.post(WEBHOOKS, json=body).json()["code"] == "ENCRYPTION_KEY_MISSING"
        (tmp_path / "elsewhere").rename(key)
        until(lambda: api.http.get("/.well-known/jwks.json").status_code == 200, "the key to be found")
        api.post(WEBHOOKS, body)


def test_keys_are_rotated_while_a_server_runs(new_server, tmp_path):
    keys = tmp_path / "keys"
    setting = {"RUNSTEAD_ENCRYPTION_KEY": f"file:{keys}", "RUNSTEAD_BOOTSTRAP_KEY": KEY}
    store = ("--database", f"sqlite:///{tmp_path}/runstead.db")

    def command(*words):
        code, out, err = runstead(*words, cwd=tmp_path, **setting)
        assert code == 0, (words, err)
        return out

    command("keys", "encryption", "create", "--out", str(keys))
    server = new_server(**setting).start()
    assert not (tmp_path / "runstead.db-encryption-key").exists()
    with server.api() as api:
        furnish(api)
        added = json.loads(command("keys", "encryption", "create", "--out", str(keys), "--json"))["key_id"]
        assert "earlier key" in command("db", "check", *store)
        assert "warn  stored secrets" in command("doctor", *store)
        rotated = json.loads(command("keys", "encryption", "rotate", *store, "--json"))
        assert rotated["encrypted"] == 4
        assert {each["key_id"] for each in rotated["secrets"]} == {added}
        keys.write_text(keys.read_text().splitlines()[0] + "\n")  # the earlier key is removed
        assert f"secrets: 4 encrypted with the key {added}" in command("db", "check", *store)
        assert "ok    stored secrets" in command("doctor", *store)
        api.post(f"{TRIGGERS}", {"target": "task:x", "secret": TRIGGER})
    server.terminate()
    server.start()
    assert "cannot be decrypted" not in server.log


def test_on_postgresql_secrets_are_encrypted_if_a_key_is_set_and_a_warning_is_logged_otherwise(
    new_server, url, tmp_path
):
    server = new_server()
    server.database = url  # PostgreSQL instead of a file
    server.start()
    assert "RUNSTEAD_ENCRYPTION_KEY" in server.log
    with server.api() as api:
        furnish(api)
    server.terminate()
    report = ("db", "check", "--database", url)
    assert "4 in plain text" in runstead(*report, cwd=tmp_path)[1]
    setting = {"RUNSTEAD_ENCRYPTION_KEY": FIRST}
    code, out, _ = runstead("keys", "encryption", "rotate", "--database", url, cwd=tmp_path, **setting)
    assert (code, out.splitlines()[0]) == (0, "encrypted 4 secret(s)")
    assert "which is missing" in runstead(*report, cwd=tmp_path, RUNSTEAD_ENCRYPTION_KEY=SECOND)[1]
    code, out, _ = runstead("doctor", "--database", url, cwd=tmp_path, RUNSTEAD_ENCRYPTION_KEY=SECOND)
    assert code == 1
    assert "fail  stored secrets" in out


def test_a_copy_keeps_its_secrets_encrypted_and_readable(new_server, url, tmp_path):
    server = new_server().start()
    with server.api() as api:
        furnish(api)
    server.terminate()
    source, key = f"sqlite:///{tmp_path}/runstead.db", tmp_path / "runstead.db-encryption-key"
    code, _, note = runstead("db", "copy", "--from", source, "--to", url, cwd=tmp_path)
    assert (code, str(key) in note) == (0, True)
    setting = {"RUNSTEAD_ENCRYPTION_KEY": f"file:{key}"}
    _, report, _ = runstead("db", "check", "--database", url, cwd=tmp_path, **setting)
    assert "secrets: 4 encrypted with the key" in report
    target = f"sqlite:///{tmp_path}/copy.db"
    code, _, note = runstead("db", "copy", "--from", url, "--to", target, cwd=tmp_path, **setting)
    assert (code, "same RUNSTEAD_ENCRYPTION_KEY" in note) == (0, True)
    code, _, _ = runstead("db", "copy", "--from", source, "--to", f"sqlite:///{tmp_path}/b.db", cwd=tmp_path)
    assert code == 0
    assert (tmp_path / "b.db-encryption-key").read_bytes() == key.read_bytes()
    assert mode(tmp_path / "b.db-encryption-key") == 0o600
