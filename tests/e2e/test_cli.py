"""The command line, on its own store and on one that a server has open."""

import json

import httpx2
import pytest

from tests.support.server import KEY, Api, Server, runstead
from tests.support.until import until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cli")
    server = Server(directory, directory / "runstead.db").start()
    yield server
    server.kill()


@pytest.fixture
def command(server, tmp_path):
    """Runs a command on the store of the running server."""

    def run(*arguments, **settings):
        settings = {"RUNSTEAD_DATABASE_URL": f"sqlite:///{server.database}"} | settings
        return runstead(*arguments, cwd=tmp_path, **settings)

    return run


def answer(done):
    code, stdout, stderr = done
    assert (code, stderr) == (0, ""), done
    return json.loads(stdout)


def refusal(done):
    code, stdout, stderr = done
    assert code == 1, done
    assert stdout == ""
    assert len(stderr.splitlines()) == 1, stderr
    return stderr


def test_help_names_every_command(tmp_path):
    code, stdout, stderr = runstead("--help", cwd=tmp_path)
    assert (code, stderr) == (0, "")
    for name in ("serve", "projects", "keys", "db", "bench", "race"):
        assert name in stdout
    for name in ("serve", "projects", "keys", "db", "bench", "race"):
        code, stdout, _ = runstead(name, "--help", cwd=tmp_path)
        assert code == 0
        assert "Usage" in stdout
    assert list(tmp_path.iterdir()) == []


def test_version_is_that_of_the_package(tmp_path):
    from runstead import __version__

    assert runstead("--version", cwd=tmp_path) == (0, f"{__version__}\n", "")


def test_a_project_and_its_key_are_created_beside_the_server_and_work_at_once(command, server):
    project = answer(command("projects", "create", "shop", "--name", "The shop", "--json"))
    assert project == {"id": project["id"], "slug": "shop", "name": "The shop"}
    assert project in answer(command("projects", "list", "--json"))
    assert "shop" in command("projects", "list")[1]

    key = answer(
        command("keys", "create", "--project", "shop", "--scope", "admin", "--name", "mine", "--json")
    )
    assert key["key"].startswith(f"vf_{key['prefix']}_")
    assert (key["project_id"], key["name"], key["scopes"]) == (project["id"], "mine", ["admin"])
    with Api(server.url, key["key"]) as api:
        assert api.get("/projects/shop")["name"] == "The shop"
        assert api.get("/projects/shop/api-keys")["data"][0]["prefix"] == key["prefix"]
        assert api.http.get("/projects/default").status_code == 404


def test_a_key_has_only_the_given_scopes(command, server):
    scopes = ("--scope", "runs:read", "--scope", "workers")
    key = answer(command("keys", "create", "--project", "default", *scopes, "--json"))
    assert key["scopes"] == ["runs:read", "workers"]
    with Api(server.url, key["key"]) as api:
        project_id = api.project_id()
        assert api.get(f"/projects/{project_id}/runs")["data"] == []
        with pytest.raises(httpx2.HTTPStatusError, match="403"):
            api.create(project_id)
    assert "admin" not in answer(command("keys", "create", "--project", "default", "--json"))["scopes"]


def test_without_json_only_the_key_is_printed(command):
    code, stdout, _ = command("keys", "create", "--project", "default")
    assert code == 0
    assert stdout.startswith("vf_")
    assert len(stdout.split()) == 1


def test_commands_need_no_server(tmp_path):
    store = ("--database", "sqlite:///alone.db", "--json")
    project = answer(runstead("projects", "create", "alone", *store, cwd=tmp_path))
    answer(runstead("keys", "create", "--project", project["id"], *store, cwd=tmp_path))
    assert answer(runstead("projects", "list", *store, cwd=tmp_path)) == [project]


def test_errors_are_reported_in_one_sentence(command, tmp_path):
    command("projects", "create", "twice")
    assert "twice" in refusal(command("projects", "create", "twice"))
    assert "slug" in refusal(command("projects", "create", "Not A Slug"))
    assert "nowhere" in refusal(command("keys", "create", "--project", "nowhere"))
    assert "everything" in refusal(command("keys", "create", "--project", "default", "--scope", "everything"))
    elsewhere = ("--database", "sqlite:///no/such/place.db")
    assert "no/such/place.db" in refusal(command("projects", "list", *elsewhere))
    unreachable = ("--url", "http://127.0.0.1:9", "--key", KEY)
    assert "127.0.0.1" in refusal(command("race", *unreachable))
    assert "127.0.0.1" in refusal(command("bench", *unreachable))


def test_race_proves_that_every_run_is_completed_exactly_once(command, server):
    here = ("--url", server.url, "--project", "default", "--runs", "9")
    report = answer(command("race", *here, "--json", RUNSTEAD_KEY=KEY))
    assert (report["runs"], report["callers"], report["violations"]) == (9, 32, [])
    assert sum(report["winners"].values()) == 9
    code, stdout, _ = command("race", *here, "--callers", "6", "--key", KEY)
    assert code == 0
    for word in ("winner", "completed", "failed", "cancelled", "every run finished exactly once"):
        assert word in stdout


def test_bench_measures_lifecycles_and_two_baselines(command, server):
    here = ("--url", server.url, "--key", KEY, "--project", "default", "--concurrency", "4", "--seconds", "1")
    report = answer(command("bench", *here, "--json"))
    assert report["errors"] == {"count": 0, "kinds": []}
    assert report["lifecycles"] > 0
    assert report["lifecycles_per_s"] == report["lifecycles"] / report["seconds"]
    assert report["requests_per_s"] > 3 * report["lifecycles_per_s"]
    for request in ("create", "claim", "append", "complete"):
        figures = report["requests"][request]
        assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert report["floors"]["healthz_requests_per_s"] > 0
    assert report["floors"]["engine_updates_per_s"] > 0
    assert (report["concurrency"], report["url"]) == (4, server.url)


def test_a_revoked_key_stops_working(command, server):
    key = answer(command("keys", "create", "--project", "default", "--json"))
    with server.api() as admin, Api(server.url, key["key"]) as api:
        api.project_id()
        assert admin.http.delete(f"/projects/default/api-keys/{key['id']}").is_success
        until(lambda: api.http.get("/projects/default").status_code == 401, "the key to be forgotten")
