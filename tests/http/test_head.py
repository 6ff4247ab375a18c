"""HEAD is answered wherever GET is: with the same status and headers, at once, and without a body."""

import re

import pytest

from runstead.http.framework.app import operations
from runstead.web.framework.app import WebApp
from runstead.web.framework.dispatch import Dispatch

from .wire import Wires, body_of, request, status_of

GETS = [one.path for one in operations() if one.method == "GET"]
STREAMS = {one.path for one in operations() if one.media_type == "text/event-stream"}
_VARYING = re.compile(rb"(x-request-id|etag|content-length|transfer-encoding): [^\r]*\r\n")


@pytest.fixture(params=["plain", "asgi"])
def wires(request, driver):
    return Wires(driver.http_app, plain=request.param == "plain")


@pytest.fixture
def auth(driver):
    return {"authorization": f"Bearer {driver.keys['admin']}"}


def head_of(answer):
    return _VARYING.sub(b"", answer.partition(b"\r\n\r\n")[0] + b"\r\n")


async def paths(driver):
    """Every path that GET has, of objects that exist where they are simple to make."""
    run, agent = (await driver.create())["run_id"], await driver.agent_run()
    conversation = agent[1].split("/")[2]
    await driver.complete(run)
    names = {
        "run_id": run, "conversation_id": conversation, "project": "inventory", "project_id": "inventory",
        "event_id": "1",
    }  # fmt: skip
    return {path: re.sub(r"\{(\w+)\}", lambda m: names.get(m[1], "none"), path) for path in GETS}


async def test_head_has_the_headers_of_get_and_no_body(driver, wires, auth):
    statuses = set()
    for route, path in (await paths(driver)).items():
        head = await wires.ask(request("HEAD", path, **auth))
        assert head.endswith(b"\r\n\r\n"), path
        assert body_of(head) == b"", path
        statuses.add(status_of(head))
        if route in STREAMS and "runs/{run_id}/stream" not in route:
            continue  # GET does not end
        got = await wires.ask(request("GET", path, **auth))
        assert head_of(head) == head_of(got), path
        if (
            status_of(got) == 200
            and route not in ("/metrics", "/healthz", "/readyz")
            and b"content-length" in got
        ):
            assert b"content-length: %d\r\n" % len(body_of(got)) in head, path
    assert {200, 404} <= statuses


async def test_a_stream_answers_head_without_following(driver, wires, auth):
    run_id = (await driver.create())["run_id"]
    head = await wires.ask(request("HEAD", f"/runs/{run_id}/stream", **auth))
    assert status_of(head) == 200
    assert b"content-type: text/event-stream" in head
    assert body_of(head) == b""
    assert not driver.app.followers._tails


async def test_the_connection_serves_the_next_request_after_head(wires, auth):
    data = (
        request("HEAD", "/runs", **auth) + request("HEAD", "/openapi.json") + request("GET", "/runs", **auth)
    )
    answer = await wires.ask(data)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert body_of(answer.rpartition(b"HTTP/1.1 ")[2]).startswith(b'{"data":')


async def test_head_of_an_artifact_reads_no_more_than_its_start(driver, wires, auth, monkeypatch):
    read = []

    class Reading:
        artifact = None

    from starlette.responses import StreamingResponse

    from runstead.http import artifacts

    async def body():
        for n in range(1_000):
            read.append(n)
            yield b"x" * 1_000

    async def answer(*_):
        return StreamingResponse(body(), 200, {"Content-Length": "1000000"})

    async def get(*_):
        return Reading()

    monkeypatch.setattr(artifacts, "answer", answer)
    monkeypatch.setattr(artifacts.commands, "get", get)
    head = await wires.ask(request("HEAD", "/runs/any/artifacts/file", **auth))
    assert b"content-length: 1000000\r\n" in head
    assert body_of(head) == b""
    assert read == []


async def test_a_path_without_get_refuses_head_and_allow_names_it_where_get_is(wires, auth):
    assert status_of(await wires.ask(request("HEAD", "/runs/any/complete", **auth))) == 405
    refused = await wires.ask(request("DELETE", "/runs", **auth))
    assert b"allow: GET, HEAD, POST\r\n" in refused


async def test_pages_answer_head_as_get(driver):
    wires = Wires(driver.http_app)
    authenticator = driver.http_app.router.endpoints[0]._server.authenticator
    wires.config.loaded_app = Dispatch(driver.http_app, WebApp(driver.app, authenticator))
    form = {"content_type": "application/x-www-form-urlencoded"}
    signed_in = await wires.ask(
        request("POST", "/ui/sign-in", f"credential={driver.keys['admin']}".encode(), **form)
    )
    cookie = re.search(rb"set-cookie: ([^;]+)", signed_in)[1].decode()
    for path, status, headers in (
        ("/ui/sign-in", 200, {}),
        ("/ui", 303, {}),
        ("/ui/static/0/none", 404, {}),
        ("/ui", 303, {"cookie": cookie}),
        ("/ui/projects/inventory/runs", 200, {"cookie": cookie}),
    ):
        head, got = [
            await wires.ask(request(method, path, accept="text/html", **headers))
            for method in ("HEAD", "GET")
        ]
        assert (status_of(head), body_of(head)) == (status, b""), path
        assert head_of(head) == head_of(got)
        if status == 200:
            assert b"content-length: %d\r\n" % len(body_of(got)) in head
