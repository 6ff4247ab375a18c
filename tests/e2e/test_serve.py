"""Starting the server: its output, its settings, and its refusals."""

import re
import socket
import sqlite3

import pytest

from tests.support.server import KEY, Api, runstead

OPENID = {
    "RUNSTEAD_OIDC_ISSUER": "https://id.example",
    "RUNSTEAD_OIDC_CLIENT_ID": "runstead",
    "RUNSTEAD_PUBLIC_URL": "https://runstead.example",
}


def refused(code, stdout, stderr):
    """Return the sentence of a refusal."""
    assert code == 1, (code, stdout, stderr)
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("runstead: ")
    assert "Errno" not in lines[0]
    assert "ready" not in stdout
    return lines[0].removeprefix("runstead: ")


def serve(tmp_path, *arguments, **settings):
    settings = {"RUNSTEAD_PORT": "0"} | settings
    return runstead("serve", *arguments, cwd=tmp_path, **settings)


def test_the_ready_line_comes_alone_and_only_once_requests_are_accepted(server):
    assert re.fullmatch(r"runstead is ready on http://127\.0\.0\.1:\d+", server.stdout[-1])
    assert [line for line in server.stdout if line.startswith("runstead is")] == server.stdout[-1:]
    with server.api() as api:
        assert api.get("/healthz") == {"status": "ok"}
        assert api.get("/readyz")["status"] == "ready"


def test_flags_take_precedence_over_the_environment(tmp_path, new_server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = new_server(
            arguments=("--host", "::1"),
            RUNSTEAD_HOST="127.0.0.1",
            RUNSTEAD_PORT=str(taken.getsockname()[1]),
            RUNSTEAD_DATABASE_URL="sqlite:///elsewhere.db",
        ).start()
    assert server.url.startswith("http://[::1]:")
    assert server.database.exists()
    assert not (tmp_path / "elsewhere.db").exists()


def test_the_environment_alone_is_enough(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = refused(
            *runstead(
                "serve",
                cwd=tmp_path,
                RUNSTEAD_HOST="127.0.0.1",
                RUNSTEAD_PORT=port,
                RUNSTEAD_DATABASE_URL="sqlite:///named.db",
            )
        )
    assert port in sentence


def test_an_empty_store_gets_a_project_and_a_key_that_works_and_is_shown_once(new_server):
    server = new_server(RUNSTEAD_BOOTSTRAP_KEY="", RUNSTEAD_BOOTSTRAP_PROJECT="").start()
    key = next(line.strip() for line in server.stdout if line.strip().startswith("vf_"))
    with Api(server.url, key) as api:
        assert api.get("/projects/default")["slug"] == "default"
        assert api.get("/projects/default/api-keys")["data"][0]["scopes"]
        api.create(api.project_id())
    server.restart()
    assert server.stdout == [f"runstead is ready on {server.url}"]
    with Api(server.url, key) as api:
        api.project_id()


def test_the_bootstrap_project_and_key_are_created_once_across_restarts(new_server):
    server = new_server(RUNSTEAD_BOOTSTRAP_PROJECT="shop")
    ids = []
    for _ in range(3):
        server.restart()
        with server.api() as api:
            ids.append(api.project_id("shop"))
            assert len(api.get("/projects/shop/api-keys")["data"]) == 1
    assert len(set(ids)) == 1
    assert not any(KEY in line for line in server.stdout)


def test_a_second_bootstrap_key_joins_the_first(new_server):
    first, second = new_server(), new_server(RUNSTEAD_BOOTSTRAP_KEY=KEY.replace("e2e", "other"))
    first.start().kill()
    second.start()
    with Api(second.url, KEY) as old, Api(second.url, KEY.replace("e2e", "other")) as new:
        assert old.project_id() == new.project_id()


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        ([], {"RUNSTEAD_AUDIT_RETENTION_DAYS": "0"}, "a number from 1 to 36500"),
        ([], {"RUNSTEAD_ACCESS_LOG_MS": "all"}, "RUNSTEAD_ACCESS_LOG_MS must be a number from 0 to"),
        (["--port", "65536"], {}, "65536"),
        (["--port", "-1"], {}, "-1"),
        (["--database", "postgres://me:hunter2@host/db"], {}, "database"),
        (["--database", "sqlite:///"], {}, "database"),
        ([], {"RUNSTEAD_PORT": "http"}, "RUNSTEAD_PORT"),
        ([], {"RUNSTEAD_SQLITE_SYNCHRONOUS": "SOMETIMES"}, "RUNSTEAD_SQLITE_SYNCHRONOUS"),
        ([], {"RUNSTEAD_BOOTSTRAP_KEY": "letmein"}, "RUNSTEAD_BOOTSTRAP_KEY"),
        ([], {"RUNSTEAD_BOOTSTRAP_KEY": "vf_a_b"}, "runstead keys generate"),
        ([], {"RUNSTEAD_PROJECTS_PER_USER_MAX": "many"}, "RUNSTEAD_PROJECTS_PER_USER_MAX"),
        ([], {"RUNSTEAD_BOOTSTRAP_PROJECT": "Not A Slug"}, "RUNSTEAD_BOOTSTRAP_PROJECT"),
        ([], {"RUNSTEAD_JWT_PUBLIC_KEY": "no/such/file.pem"}, "RUNSTEAD_JWT_PUBLIC_KEY"),
        ([], {"RUNSTEAD_JWKS_URL": "ftp://keys"}, "RUNSTEAD_JWKS_URL"),
        ([], {"RUNSTEAD_ENCRYPTION_KEY": "short"}, "RUNSTEAD_ENCRYPTION_KEY"),
        ([], {"RUNSTEAD_PUBLIC_URL": "runstead.example"}, "RUNSTEAD_PUBLIC_URL"),
        ([], {"RUNSTEAD_OIDC_ISSUER": "https://id.example"}, "RUNSTEAD_OIDC_CLIENT_ID"),
        ([], OPENID | {"RUNSTEAD_OIDC_ISSUER": "id.example"}, "RUNSTEAD_OIDC_ISSUER"),
        ([], OPENID | {"RUNSTEAD_OIDC_SCOPES": "email"}, "RUNSTEAD_OIDC_SCOPES"),
        ([], OPENID | {"RUNSTEAD_OIDC_USER_CLAIM": "name"}, "RUNSTEAD_OIDC_USER_CLAIM"),
        ([], OPENID | {"RUNSTEAD_OIDC_ROLES": "ops=shop:owner"}, "RUNSTEAD_OIDC_ROLES"),
        (["--host", "203.0.113.7"], {}, "cannot listen on 203.0.113.7"),
        (["--host", "no.such.host.invalid"], {}, "cannot listen on no.such.host.invalid"),
    ],
)
def test_an_invalid_setting_is_refused_in_one_sentence(tmp_path, arguments, settings, expected):
    sentence = refused(*serve(tmp_path, *arguments, **settings))
    assert expected in sentence
    assert "hunter2" not in sentence
    assert list(tmp_path.glob("*.db*")) == []


def test_a_port_that_is_not_a_number_is_refused_without_a_traceback(tmp_path):
    code, _, stderr = runstead("serve", "--port", "http", cwd=tmp_path)
    assert code != 0
    assert "--port" in stderr
    assert "Traceback" not in stderr


def test_a_port_in_use_is_refused_and_the_first_key_is_not_lost_by_that(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, stdout, stderr = runstead("serve", "--port", str(port), cwd=tmp_path)
    assert f"port {port}" in refused(code, stdout, stderr)
    # A key is shown once: it must not be created before the server can start.
    assert stdout == ""
    assert not (tmp_path / "runstead.db").exists()


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    sentence = refused(*serve(tmp_path, "--database", "sqlite:///no/such/directory/runstead.db"))
    assert "no/such/directory" in sentence


def test_a_database_that_is_newer_than_the_program_is_refused(tmp_path, new_server):
    server = new_server().start()
    server.kill()
    with sqlite3.connect(server.database) as store:
        store.execute("INSERT INTO schema_migrations VALUES ('9999_the_future', 0)")
    store.close()
    sentence = refused(*serve(tmp_path, "--database", f"sqlite:///{server.database}"))
    assert "newer" in sentence
    assert "9999_the_future" in sentence
    assert "install the version that migrated it" in sentence
    assert "restore the backup" in sentence
    sentence = refused(
        *runstead("projects", "list", "--database", f"sqlite:///{server.database}", cwd=tmp_path)
    )
    assert "newer" in sentence


def test_a_file_that_is_not_a_database_is_refused_and_not_changed(tmp_path):
    file = tmp_path / "letter.db"
    file.write_bytes(b"Dear reader, this is a letter and not a database.\n" * 100)
    before = file.read_bytes()
    sentence = refused(*serve(tmp_path, "--database", f"sqlite:///{file}"))
    assert "letter.db" in sentence
    assert "not a database" in sentence
    assert file.read_bytes() == before


def test_a_damaged_database_is_refused(tmp_path, new_server):
    server = new_server().start()
    server.terminate()
    content = bytearray(server.database.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the schema's page; the header is whole
    server.database.write_bytes(content)
    sentence = refused(*serve(tmp_path, "--database", f"sqlite:///{server.database}"))
    assert "malformed" in sentence
