"""nginx, Caddy and Traefik with the files of deploy/: streams, uploads, reconnects, addresses."""

import hashlib
import json
import os
import time

import pytest

from tests.support.server import Server, note

from .proxies import PROXIES, READ_TIMEOUT_S, Proxy, free_ports

ARTIFACT_BYTES = 8 << 20  # nginx refuses more than 1 MiB where its file says nothing


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    started = Server(
        folder,
        folder / "runstead.db",
        limits={"stream_heartbeat_s": 0.4, "stream_tick_s": 0.1},
        RUNSTEAD_TRUSTED_PROXIES="127.0.0.1",
        RUNSTEAD_SQLITE_SYNCHRONOUS="OFF",
    )
    yield started.start()
    started.kill()


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request, server, program, tmp_path_factory):
    program("curl")
    with Proxy(
        request.param, tmp_path_factory.mktemp(request.param), server, program(request.param)
    ) as running:
        yield running


@pytest.fixture
def api(server):
    with server.api() as api:
        yield api


def status(done):
    return done.stdout.rpartition("\n")[2]


def next_event(stream):
    """The id and the data of the next event of a stream."""
    frame = {}
    for line in stream.stdout:
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            frame[name] = value
        elif "id" in frame:
            return int(frame["id"]), json.loads(frame["data"])
    raise AssertionError("the stream ended")


def test_a_run_is_created_over_http_2(proxy, api):
    assert proxy.protocol() == "h2"
    body = {
        "kind": "task",
        "owner": {"kind": "project", "id": api.project_id()},
        "request": {"target": "task:e2e"},
    }
    done = proxy.run("/runs", "-H", "Content-Type: application/json", "-d", json.dumps(body))
    assert status(done) == "2 202", done.stdout


def test_events_arrive_while_the_stream_is_open_and_after_an_idle_time(proxy, api):
    run_id = api.create(api.project_id())["run_id"]
    with proxy.follow(f"/runs/{run_id}/stream") as stream:
        for number in (1, 2):  # the second is sent after the first was received
            api.append(run_id, [note(number)])
            assert next_event(stream)[1]["value"] == number
        idle_until = time.monotonic() + READ_TIMEOUT_S * 1.25
        while time.monotonic() < idle_until:
            assert stream.stdout.readline(), (
                "the proxy closed the idle stream"
            )  # a comment, or its blank line
        api.append(run_id, [note(3)])
        assert next_event(stream)[1]["value"] == 3
        api.complete(run_id)
        assert next_event(stream)[1]["type"] == "RUN_FINISHED"
        assert stream.wait(60) == 0, "the end of the run ends the stream without an error"


def test_a_client_that_reconnects_gets_what_it_missed_once(proxy, api):
    run_id = api.create(api.project_id())["run_id"]
    with proxy.follow(f"/runs/{run_id}/stream") as stream:
        api.append(run_id, [note(1)])
        last, _ = next_event(stream)
        stream.kill()
    api.append(run_id, [note(2)])
    with proxy.follow(f"/runs/{run_id}/stream", "-H", f"Last-Event-ID: {last}") as stream:
        assert next_event(stream)[1]["value"] == 2
        stream.kill()


def test_an_artifact_of_some_megabytes_passes_both_ways(proxy, api, tmp_path):
    run_id = api.create(api.project_id())["run_id"]
    (tmp_path / "up").write_bytes(os.urandom(ARTIFACT_BYTES))
    path = f"/runs/{run_id}/artifacts/model.bin"
    assert status(proxy.run(path, "-T", str(tmp_path / "up"))) == "2 200"
    assert status(proxy.run(path, "-o", str(tmp_path / "down"))) == "2 200"
    sums = [hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("up", "down")]
    assert sums[0] == sums[1]


def test_the_audit_log_has_the_address_of_the_caller_and_not_one_that_it_invents(proxy, api):
    run_id = api.create(api.project_id())["run_id"]
    forged = ("-H", "X-Forwarded-For: 203.0.113.9", "-H", "Content-Type: application/json")
    assert status(proxy.run(f"/runs/{run_id}/cancel", *forged, "-d", "{}")).startswith("2 20")
    entries = api.get(f"/projects/{api.project_id()}/audit", object=f"run:{run_id}", action="run.cancel")[
        "data"
    ]
    assert [entry["address"] for entry in entries] == ["127.0.0.2"]


def test_the_dashboards_cookie_is_secure_and_plain_http_is_redirected(proxy):
    form = ("-H", "Sec-Fetch-Site: same-origin", "--data-urlencode", f"credential={proxy.key}")
    done = proxy.run("/ui/sign-in", "-D", "-", *form)
    assert "; Secure" in done.stdout
    assert "max-age=31536000" in done.stdout.lower()
    done = proxy.run("/runs?limit=1", "-D", "-", scheme="http")
    assert status(done).split()[1] in {"301", "308"}
    assert "location: https://" in done.stdout.lower()


def test_metrics_and_readiness_are_not_public(proxy):
    for path in ("/metrics", "/readyz"):
        assert status(proxy.run(path)) == "2 404"


def test_caddy_of_the_compose_file_serves_while_one_of_two_replicas_is_gone(program, server, tmp_path):
    (closed,) = free_ports(1)
    with Proxy("compose", tmp_path, server, program("caddy"), gone=f"127.0.0.1:{closed}") as proxy:
        assert {status(proxy.run("/runs?limit=1")) for _ in range(10)} == {"2 200"}
